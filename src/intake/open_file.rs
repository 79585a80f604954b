//! The file that is written to. Room is made in it ahead of the records: an fsync of bytes that lie in blocks which the
//! file has already writes no inode besides, and takes half as long.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::folder::HEADER;
use super::frame::ROOM;

/// How much room is made at once, in bytes: of a thousand records one has an fsync that writes it.
const ROOM_BYTES: usize = 1024 * 1024;

/// A file with its header.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: File,
    /// Where the next byte goes.
    at: u64,
    /// The length of the file.
    length: u64,
    makes_room: bool,
}

impl OpenFile {
    /// A file that was just begun.
    pub fn begun(file: File, makes_room: bool) -> OpenFile {
        let begins = HEADER as u64;
        OpenFile { file, at: begins, length: begins, makes_room }
    }

    /// Writes behind what was written.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        if self.at > self.length {
            self.length = self.at;
            self.make_room()?;
        }
        Ok(())
    }

    /// A disk without that room goes on without it.
    fn make_room(&mut self) -> io::Result<()> {
        if !self.makes_room {
            return Ok(());
        }
        match self.file.write_all_at(&vec![ROOM; ROOM_BYTES], self.at) {
            Ok(()) => self.length = self.at + ROOM_BYTES as u64,
            Err(_) => {
                self.makes_room = false;
                // A part of it may be written, and others need the disk more.
                self.file.set_len(self.at)?;
            }
        }
        Ok(())
    }

    /// Brings what was written to the disk. Bytes of a file without a name are lost with this process.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        if self.file.metadata()?.nlink() > 0 { Ok(()) } else { Err(io::Error::other("the file was removed")) }
    }

    /// Gives back the room that is left. A process that dies leaves it; readers pass over it.
    pub fn end(self) {
        if let Err(error) = self.file.set_len(self.at) {
            tracing::debug!(%error, "a file of the intake log keeps its room");
        }
    }
}

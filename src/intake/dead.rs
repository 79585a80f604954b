//! The logs that processes left: read from their cursor to their end, from the files.
//!
//! What must stay true: only the holder of a log's lock reads it, and the lock ends with its process, so that no log of
//! a living process is read by another; nothing is changed in the files before they are removed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::folder;
use super::frame::{FRAME, Found, scan};
use super::reader::Durable;
use super::record::Record;

/// A log whose process is gone.
#[derive(Debug)]
pub struct DeadLog {
    pub name: String,
    folder: PathBuf,
    _lock: File,
}

/// Bytes of a log that are no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where they begin.
    pub position: u64,
    pub bytes: Vec<u8>,
    /// Whether nothing follows: a process that dies while it writes leaves that, and it was not acknowledged.
    pub is_end: bool,
}

/// The logs in a folder that no living process has. They are this process's from now on.
pub fn dead_logs(parent: &Path) -> io::Result<Vec<DeadLog>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(parent) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if !entry.file_type()?.is_dir() || name == KEPT {
            continue;
        }
        // One that is removed at this moment is no log any more.
        match folder::lock(&entry.path()) {
            Ok(Some(lock)) => found.push(DeadLog { name, folder: entry.path(), _lock: lock }),
            Ok(None) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The folder of bytes that were not understood.
const KEPT: &str = "damaged";

impl DeadLog {
    /// Every record behind this position, and what lies between them.
    pub fn read(&self, after: u64) -> io::Result<(Vec<Durable>, Vec<Damage>)> {
        let segments = folder::segments(&self.folder)?;
        let (mut records, mut damage) = (Vec::new(), Vec::new());
        for (n, segment) in segments.iter().enumerate() {
            let following = segments.get(n + 1).map(|next| next.start);
            // A file that was given up ends where the next one begins.
            let end = following.unwrap_or(u64::MAX);
            if end <= after {
                continue;
            }
            let bytes = folder::content(segment)?;
            let position = |at: usize| segment.start + at as u64;
            for found in scan(&bytes) {
                match found {
                    Found::Record { at, bytes: range } if position(at) < end && position(range.end) > after => {
                        match bytes.get(range.clone()).and_then(Record::from_bytes) {
                            Some(record) => {
                                records.push(Durable { record, from: position(at), to: position(range.end) });
                            }
                            None => damage.push(Damage {
                                position: position(at),
                                bytes: bytes.get(range.start - FRAME..range.end).unwrap_or_default().to_vec(),
                                is_end: false,
                            }),
                        }
                    }
                    Found::Damaged(range) if position(range.start) < end && position(range.end) > after => {
                        let is_end = following.is_none() && range.end == bytes.len();
                        let bytes = bytes.get(range.clone()).unwrap_or_default().to_vec();
                        damage.push(Damage { position: position(range.start), bytes, is_end });
                    }
                    Found::Record { .. } | Found::Damaged(_) => {}
                }
            }
        }
        Ok((records, damage))
    }

    /// Keeps damaged bytes beside the logs; the file they are in.
    pub fn keep(&self, damage: &Damage) -> io::Result<PathBuf> {
        let folder = self.folder.parent().unwrap_or(&self.folder).join(KEPT);
        folder::keep_aside(&folder, &format!("{}-{:020}", self.name, damage.position), &damage.bytes)
    }

    /// Removes the files. Only where everything is settled.
    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.folder)
    }
}

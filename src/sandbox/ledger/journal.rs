//! The journal: one JSON record a line, appended before the change is visible, read back at start.
//!
//! It survives the death of the process, not of the machine: nothing is fsynced, because what is tested is the
//! service, and its tests kill processes.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use super::record::Record;

/// An open journal, positioned at its end.
pub(in crate::sandbox) struct Journal {
    file: File,
    length: u64,
}

impl Journal {
    /// Opens or creates the file and hands every whole record to `apply`. A last line that a killed process left
    /// unfinished was never answered to anyone and is cut off; a broken line before the last is an error.
    pub fn open(path: &Path, mut apply: impl FnMut(Record)) -> io::Result<Journal> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        if !file.metadata()?.is_file() {
            // A device or a pipe may never end.
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut reader = BufReader::new(&mut file);
        let mut length = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            let record = serde_json::from_slice(&line)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("journal at byte {length}: {e}")))?;
            apply(record);
            length += u64::try_from(read).unwrap_or(0);
        }
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Journal { file, length })
    }

    /// Appends one record. When that fails, the file is as before and the change must not happen.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        match self.file.write_all(&line) {
            Ok(()) => {
                self.length += u64::try_from(line.len()).unwrap_or(0);
                Ok(())
            }
            Err(error) => {
                // Half a line in the middle would make the whole journal unreadable.
                self.file.set_len(self.length)?;
                Err(error)
            }
        }
    }
}

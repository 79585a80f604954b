//! The folder of one log: its lock, and files that each begin with a header.
//!
//! A position counts the bytes of records over all files of a log; headers are not among them.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::frame::checksum;

const FORM: [u8; 8] = *b"WXPAYIN1";
/// The form, the position of the first record, a checksum over both.
pub(super) const HEADER: usize = 20;
const ENDING: &str = "log";

/// A file of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub path: PathBuf,
    /// The position of its first record.
    pub start: u64,
}

/// Makes a folder for this user alone.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Makes the folder of all logs; its name is on the disk when it returns.
pub fn prepare(folder: &Path) -> io::Result<()> {
    make(folder)?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Takes the log's lock; nothing while another process has it. It is held until the file is dropped.
pub(super) fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = private().read(true).write(true).create(true).truncate(false).open(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Begins a file whose first record has this position; header and name are on the disk when it returns.
pub(super) fn begin(folder: &Path, start: u64) -> io::Result<(File, Segment)> {
    let mut number = start;
    let (mut file, path) = loop {
        let path = folder.join(format!("{start:020}-{number:020}.{ENDING}"));
        match private().append(true).create_new(true).open(&path) {
            Ok(file) => break (file, path),
            // One begun at the same position failed before its first record.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(e) => return Err(e),
        }
    };
    let made =
        file.write_all(&header(start)).and_then(|()| file.sync_all()).and_then(|()| File::open(folder)?.sync_all());
    if let Err(e) = made {
        // Otherwise a full disk would get one more file with each try.
        let _ = std::fs::remove_file(&path);
        return Err(e);
    }
    Ok((file, Segment { path, start }))
}

/// The files of a log, in the order of their positions.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let start = name.split_once('-').and_then(|(start, _)| start.parse().ok());
        if let Some(start) = start.filter(|_| path.extension().is_some_and(|ending| ending == ENDING)) {
            found.push(Segment { path, start });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The records of a file, without its header. A header that is damaged costs nothing: the name has the position.
pub(super) fn content(segment: &Segment) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(&segment.path)?.read_to_end(&mut bytes)?;
    let begins = bytes.len().min(HEADER);
    Ok(bytes.split_off(begins))
}

/// Writes bytes that were not understood into a file of their own.
pub(super) fn keep_aside(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    make(folder)?;
    let path = folder.join(name);
    let mut file = private().write(true).create(true).truncate(true).open(&path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(path)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn header(start: u64) -> Vec<u8> {
    let start = start.to_le_bytes();
    [&FORM[..], &start, &checksum(&[&FORM, &start]).to_le_bytes()].concat()
}

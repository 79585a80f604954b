//! The folder of one log: its lock, and files that each begin with a header.
//!
//! A position counts the bytes of records over all files of a log; headers are not among them.
//!
//! What must stay true: what is removed is named, file by file; a folder that holds anything else stays.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::frame::checksum;
use super::name::{CURSOR, DatabaseId, NEXT_CURSOR, segment_name, segment_start};
use crate::failpoint;

/// The last byte counts up with each form.
const FORM: [u8; 8] = *b"WXPAYIN1";
/// The form, the database, the position of the first record, a checksum over all of them.
pub(super) const HEADER: usize = 40;
const LOCK: &str = "lock";

/// A file of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub path: PathBuf,
    /// The position of its first record.
    pub start: u64,
}

/// What a file begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// A whole one: whose log it is.
    Of(DatabaseId),
    /// Cut off: no record follows, as none is written before its header is on the disk.
    Short,
    /// Of a form that a later version may write.
    Unknown,
    /// Its bytes contradict each other.
    Damaged,
}

/// Makes a folder for this user alone, with those above it; their names are on the disk when it returns.
pub fn prepare(folder: &Path) -> io::Result<()> {
    let above = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(above) = above.filter(|above| !above.is_dir()) {
        prepare(above)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        made => made?,
    }
    sync(above.unwrap_or(Path::new(".")))
}

/// Brings the names in a folder to the disk.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a new log's lock and takes it; nothing while another process has it. It is held until the file is dropped.
pub(super) fn make_lock(folder: &Path) -> io::Result<Option<File>> {
    taken(private().read(true).write(true).create(true).truncate(false).open(folder.join(LOCK))?)
}

/// Takes the lock of a log that is there; makes nothing.
pub(super) fn lock(folder: &Path) -> io::Result<Option<File>> {
    taken(OpenOptions::new().read(true).open(folder.join(LOCK))?)
}

/// Whether a process has the lock of a log that is there.
pub(super) fn is_held(folder: &Path) -> io::Result<bool> {
    match OpenOptions::new().read(true).open(folder.join(LOCK))?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

fn taken(file: File) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Begins a file whose first record has this position; header and name are on the disk when it returns. `number` grows
/// with each try: of files that begin at one position, the last in the order of names is the one that counts, also
/// where the removal of another one was lost with the power.
pub(super) fn begin(folder: &Path, database: DatabaseId, start: u64, number: &mut u64) -> io::Result<(File, Segment)> {
    *number = (*number).max(start);
    let (mut file, path) = loop {
        let path = folder.join(segment_name(start, *number));
        *number += 1;
        match private().write(true).create_new(true).open(&path) {
            Ok(file) => break (file, path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    };
    let made = file.write_all(&header(database, start)).and_then(|()| file.sync_all()).and_then(|()| sync(folder));
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
        let entry = entry?;
        if let Some(start) = entry.file_name().to_str().and_then(segment_start) {
            found.push(Segment { path: entry.path(), start });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// What a file begins with. Only that is read.
pub(super) fn header_of(segment: &Segment) -> io::Result<Header> {
    let mut bytes = Vec::with_capacity(HEADER);
    File::open(&segment.path)?.take(HEADER as u64).read_to_end(&mut bytes)?;
    Ok(parsed(&bytes, segment.start))
}

fn parsed(bytes: &[u8], named: u64) -> Header {
    let (family, form) = FORM.split_at(FORM.len() - 1);
    if bytes.starts_with(family) && bytes.get(family.len()).is_some_and(|byte| !form.contains(byte)) {
        return Header::Unknown;
    }
    if bytes.len() < HEADER {
        return Header::Short;
    }
    let id = bytes.get(FORM.len()..FORM.len() + DatabaseId::LENGTH);
    let database = id.and_then(|id| std::str::from_utf8(id).ok()).and_then(DatabaseId::parse);
    match database {
        Some(database) if bytes == header(database, named) => Header::Of(database),
        Some(_) | None => Header::Damaged,
    }
}

/// The records of a file, without its header. A header that is damaged costs nothing: the name has the position.
pub(super) fn content(segment: &Segment) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(&segment.path)?.read_to_end(&mut bytes)?;
    let begins = bytes.len().min(HEADER);
    Ok(bytes.split_off(begins))
}

/// Removes the files of a log, its lock, and its folder unless something else lies there.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    failpoint::point("intake.ended");
    for segment in segments(folder)? {
        gone(std::fs::remove_file(&segment.path))?;
    }
    failpoint::point("intake.removed");
    remove_rest(folder)
}

/// Removes what is left of a log without files: its cursor, an empty lock and an empty folder.
pub(super) fn remove_rest(folder: &Path) -> io::Result<()> {
    for name in [CURSOR, NEXT_CURSOR] {
        gone(std::fs::remove_file(folder.join(name)))?;
    }
    let lock = folder.join(LOCK);
    if std::fs::symlink_metadata(&lock).is_ok_and(|found| found.is_file() && found.len() == 0) {
        gone(std::fs::remove_file(&lock))?;
    }
    gone(std::fs::remove_dir(folder))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn header(database: DatabaseId, start: u64) -> Vec<u8> {
    let (id, start) = (database.as_bytes(), start.to_le_bytes());
    [&FORM[..], id, &start, &checksum(&[&FORM, id, &start]).to_le_bytes()].concat()
}

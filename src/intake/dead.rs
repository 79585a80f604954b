//! The logs that processes left: read file by file, from the cursor to the end.
//!
//! What must stay true: only the holder of a log's lock reads it, and the lock ends with its process, so that no log of
//! a living process is read by another; nothing is changed in the files before they are removed; what is not surely a
//! log of this database is left as it is.

use std::collections::HashSet;
use std::fs::{DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};

use super::folder;
use super::folder::{Header, Segment};
use super::frame::{Found, scan, written};
use super::kept::keep_aside;
use super::name::{DatabaseId, is_log_name};
use super::reader::Durable;
use super::record::Record;

/// A log whose process is gone.
#[derive(Debug)]
pub struct DeadLog {
    pub name: String,
    folder: PathBuf,
    segments: Vec<Segment>,
    /// Whether the header of a file of it is damaged.
    pub is_damaged: bool,
    _lock: File,
}

/// A folder with the name of a log that is not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftAlone {
    pub name: String,
    pub why: String,
}

/// Why a log of another service is not taken over.
const FOREIGN: &str = "it is of another database";
pub(super) const NO_LOCK: &str = "it has no lock file";

impl LeftAlone {
    /// Whether it is another service's, which may live.
    pub fn is_foreign(&self) -> bool {
        self.why == FOREIGN
    }
}

/// What lies in a folder of logs, beside those of living processes.
#[derive(Debug, Default)]
pub struct Listing {
    /// They are this process's from now on.
    pub dead: Vec<DeadLog>,
    pub left: Vec<LeftAlone>,
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

/// A stretch of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Record(Durable),
    Damage(Damage),
    /// A whole record of a form that a later version may write; its position.
    Unknown(u64),
}

/// What a file of a log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The position it begins with.
    pub begins: u64,
    /// The position behind its last byte, as far as it counts.
    pub ends: u64,
    /// What lies behind the cursor.
    pub pieces: Vec<Piece>,
}

/// Whose logs are read.
#[derive(Debug, Clone)]
pub struct Owner {
    /// None where no log was ever made.
    pub database: Option<DatabaseId>,
    /// The logs that the database has a cursor of: they are its own also where their headers are damaged.
    pub known: HashSet<String>,
}

/// The logs in a folder that no living process has.
pub fn dead_logs(parent: &Path, owner: &Owner) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let entries = match std::fs::read_dir(parent) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(listing),
        entries => entries?,
    };
    for entry in entries {
        // One that cannot be read is no reason to leave the others.
        let name = match &entry {
            Ok(entry) => entry.file_name().to_string_lossy().into_owned(),
            Err(_) => String::new(),
        };
        match entry.and_then(|entry| examined(&entry, owner)) {
            Ok(Examined::Dead(dead)) => listing.dead.push(dead),
            Ok(Examined::Not(why)) => listing.left.push(LeftAlone { name, why: why.to_owned() }),
            Ok(Examined::Nothing) => {}
            // It is removed at this moment.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => listing.left.push(LeftAlone { name, why: e.to_string() }),
        }
    }
    listing.dead.sort_by(|a, b| a.name.cmp(&b.name));
    listing.left.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listing)
}

enum Examined {
    Dead(DeadLog),
    /// Not to be taken over, and why.
    Not(&'static str),
    /// No log, or a living one.
    Nothing,
}

fn examined(entry: &DirEntry, owner: &Owner) -> io::Result<Examined> {
    let (name, folder) = (entry.file_name(), entry.path());
    let Some(name) = name.to_str().filter(|name| is_log_name(name)) else { return Ok(Examined::Nothing) };
    if !entry.file_type()?.is_dir() {
        return Ok(Examined::Nothing);
    }
    let segments = folder::segments(&folder)?;
    if segments.is_empty() {
        return rest(&folder);
    }
    // Before its lock is touched: it may be another service's.
    if let Some(why) = objection(name, &segments, owner)? {
        return Ok(Examined::Not(why));
    }
    let lock = match folder::lock(&folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Examined::Not(NO_LOCK)),
        lock => lock?,
    };
    let Some(lock) = lock else { return Ok(Examined::Nothing) };
    // Its process may have written until now.
    let segments = folder::segments(&folder)?;
    if let Some(why) = objection(name, &segments, owner)? {
        return Ok(Examined::Not(why));
    }
    let is_damaged = segments.iter().any(|segment| matches!(folder::header_of(segment), Ok(Header::Damaged)));
    Ok(Examined::Dead(DeadLog { name: name.to_owned(), folder, segments, is_damaged, _lock: lock }))
}

/// What a process left that died before its first file, or after its last.
fn rest(folder: &Path) -> io::Result<Examined> {
    let lock = match folder::lock(folder) {
        // Its process may be about to make one, and removes nothing of it then.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let is_gone = std::fs::remove_dir(folder).is_ok() || folder::lock(folder).is_ok();
            return Ok(if is_gone { Examined::Nothing } else { Examined::Not("it holds no file of a log") });
        }
        Ok(None) => return Ok(Examined::Nothing),
        lock => lock?,
    };
    let removed = folder::remove_rest(folder);
    drop(lock);
    Ok(if removed.is_ok() { Examined::Nothing } else { Examined::Not("it holds no file of a log") })
}

/// Why a log is not this database's to read. A file that cannot be read holds up no other one: its own reading says so.
pub(super) fn objection(name: &str, segments: &[Segment], owner: &Owner) -> io::Result<Option<&'static str>> {
    let (mut is_ours, mut is_damaged, mut unreadable) = (false, false, None);
    for segment in segments {
        match folder::header_of(segment) {
            Ok(Header::Of(of)) if Some(of) == owner.database => is_ours = true,
            Ok(Header::Of(_)) => return Ok(Some(FOREIGN)),
            Ok(Header::Unknown) => return Ok(Some("it is of a form that this version does not know")),
            Ok(Header::Short) => {}
            Ok(Header::Damaged) => is_damaged = true,
            Err(e) => unreadable = Some(e),
        }
    }
    match unreadable {
        _ if is_ours => Ok(None),
        Some(e) => Err(e),
        None if is_damaged && owner.known.contains(name) => Ok(None),
        None if is_damaged => Ok(Some("its header is damaged, and the database does not know it")),
        None => Ok(Some("it holds no record: its header is cut off")),
    }
}

/// Whose logs lie in a folder; nothing where they are of several databases, or of none.
pub fn only_database(parent: &Path) -> Option<DatabaseId> {
    let mut found = None;
    for entry in std::fs::read_dir(parent).ok()?.flatten() {
        if !entry.file_name().to_str().is_some_and(is_log_name) {
            continue;
        }
        for segment in folder::segments(&entry.path()).unwrap_or_default() {
            if let Ok(Header::Of(database)) = folder::header_of(&segment)
                && found.replace(database).is_some_and(|before| before != database)
            {
                return None;
            }
        }
    }
    found
}

impl DeadLog {
    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many files it has.
    pub fn files(&self) -> usize {
        self.segments.len()
    }

    /// Whether everything in the file lies before this position, as its successor's name says.
    pub fn is_behind(&self, file: usize, position: u64) -> bool {
        self.segments.get(file + 1).is_some_and(|next| next.start <= position)
    }

    /// What a file holds behind this position. Blocks.
    pub fn read(&self, file: usize, after: u64) -> io::Result<Part> {
        let segment = self.segments.get(file).ok_or(io::ErrorKind::NotFound)?;
        let following = self.segments.get(file + 1).map(|next| next.start);
        // A file that was given up ends where the next one begins.
        let end = following.unwrap_or(u64::MAX);
        let bytes = folder::content(segment)?;
        let position = |at: usize| segment.start + at as u64;
        let found = scan(&bytes);
        // At the end of a log it is room for records; before the position of the next file it is damage.
        let used = match following {
            Some(next) => {
                usize::try_from(next.saturating_sub(segment.start)).map_or(bytes.len(), |n| n.min(bytes.len()))
            }
            None => written(&bytes, &found),
        };
        let counts = |from: usize, to: usize| position(from) < end && position(to) > after;
        let mut pieces = Vec::new();
        for found in found {
            match found {
                Found::Record { at, bytes: range } if counts(at, range.end) => {
                    let (from, to) = (position(at), position(range.end));
                    let record = bytes.get(range).and_then(Record::from_bytes);
                    pieces.push(
                        record.map_or(Piece::Unknown(from), |record| Piece::Record(Durable { record, from, to })),
                    );
                }
                Found::Damaged(range) if counts(range.start, range.end.min(used)) && range.start < used => {
                    let range = range.start..range.end.min(used);
                    let is_end = following.is_none() && range.end == used;
                    let position = position(range.start);
                    let bytes = bytes.get(range).unwrap_or_default().to_vec();
                    pieces.push(Piece::Damage(Damage { position, bytes, is_end }));
                }
                Found::Record { .. } | Found::Damaged(_) => {}
            }
        }
        Ok(Part { begins: segment.start, ends: position(used), pieces })
    }

    /// Keeps bytes beside the logs; the file they are in. Blocks.
    pub fn keep(&self, position: u64, bytes: &[u8]) -> io::Result<PathBuf> {
        keep_aside(self.folder.parent().unwrap_or(&self.folder), &self.name, position, bytes)
    }

    /// Removes the files. Only where everything is settled. Blocks.
    pub fn remove(&self) -> io::Result<()> {
        folder::remove(&self.folder)
    }
}

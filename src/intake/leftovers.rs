//! What lies in the folder of logs and stays there, for those who report it.
//!
//! What must stay true: nothing is changed; a lock is tried only where a file shows that the log is this database's,
//! shared and for an instant.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::dead::{LeftAlone, NO_LOCK, Owner, objection};
use super::folder;
use super::folder::Segment;
use super::frame::{scan, written};
use super::kept::kept_files;
use super::name::is_log_name;

/// So many are named.
const NAMED: usize = 3;

/// What a search for the logs of dead processes found and could not remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Logs that are not taken over.
    pub left: Vec<LeftAlone>,
    /// Logs of dead processes that could not be read or moved to their end.
    pub blocked: Vec<LeftAlone>,
    /// Files of bytes that were no record.
    pub damaged: usize,
}

impl Leftovers {
    /// Other services' logs, which are none of this one's.
    pub fn foreign(&self) -> usize {
        self.left.iter().filter(|left| left.is_foreign()).count()
    }

    /// In words; nothing where there is nothing to say.
    pub fn text(&self) -> Option<String> {
        let stay: Vec<&LeftAlone> = self.blocked.iter().chain(&self.left).collect();
        let mut said: Vec<String> =
            stay.iter().take(NAMED).map(|left| format!("{} stays: {}", left.name, left.why)).collect();
        if stay.len() > NAMED {
            said.push(format!("{} more logs stay", stay.len() - NAMED));
        }
        if self.damaged > 0 {
            said.push(format!("{} files of damaged bytes are kept", self.damaged));
        }
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// What the latest search found. Cheap to clone: all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Lately(Arc<Mutex<Leftovers>>);

impl Lately {
    pub fn set(&self, found: Leftovers) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    pub fn get(&self) -> Leftovers {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A log of this database, of a process that lives or one that died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFound {
    pub name: String,
    /// The position behind its last byte.
    pub ends: u64,
    /// Whether its process, or one that takes it over, has its lock.
    pub is_held: bool,
}

/// What lies in the folder of logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    pub logs: Vec<LogFound>,
    /// What is not taken over, and files of damaged bytes.
    pub leftovers: Leftovers,
}

/// Reads what lies in the folder of logs of a database. Blocks.
pub fn survey(parent: &Path, owner: &Owner) -> io::Result<Survey> {
    let mut found = Survey::default();
    let entries = match std::fs::read_dir(parent) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_log_name(&name) || !entry.file_type()?.is_dir() {
            continue;
        }
        match examined(&name, &entry.path(), owner) {
            Ok(Ok((ends, is_held))) => found.logs.push(LogFound { name, ends, is_held }),
            Ok(Err(why)) => found.leftovers.left.push(LeftAlone { name, why: why.to_owned() }),
            // It is removed at this moment.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => found.leftovers.left.push(LeftAlone { name, why: e.to_string() }),
        }
    }
    found.leftovers.damaged = kept_files(parent)?;
    found.logs.sort_by(|a, b| a.name.cmp(&b.name));
    found.leftovers.left.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Where a log ends and whether it is held, or why it is not this database's to read.
fn examined(name: &str, log: &Path, owner: &Owner) -> io::Result<Result<(u64, bool), &'static str>> {
    let segments = folder::segments(log)?;
    let Some(last) = segments.last() else {
        // Just made, or about to go.
        return Ok(Ok((0, true)));
    };
    if let Some(why) = objection(name, &segments, owner)? {
        return Ok(Err(why));
    }
    let is_held = match folder::is_held(log) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && log.is_dir() => return Ok(Err(NO_LOCK)),
        is_held => is_held?,
    };
    Ok(Ok((end(last)?, is_held)))
}

fn end(last: &Segment) -> io::Result<u64> {
    let bytes = folder::content(last)?;
    Ok(last.start + written(&bytes, &scan(&bytes)) as u64)
}

//! Bytes of logs that were no record, in files of their own, in a folder beside the logs.
//!
//! What must stay true: what is kept replaces nothing; a file goes by its age or their number alone, and none of a log
//! of which anything is left.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder::{prepare, private, sync};
use super::name::is_log_name;
use crate::clock::Timestamp;

/// The folder of these files.
const KEPT: &str = "damaged";
/// So many files are kept at most, the newest.
pub const MOST_KEPT: usize = 1000;
/// For so long.
pub const KEPT_FOR: Duration = Duration::from_secs(180 * 24 * 3600);

/// A file of bytes that were no record.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    log: String,
    at: Timestamp,
}

/// Writes bytes that were not understood into a file of their own, in a folder beside the logs. They are on the disk
/// when it returns; what was kept before stays.
pub fn keep_aside(parent: &Path, log: &str, position: u64, bytes: &[u8]) -> io::Result<PathBuf> {
    let folder = parent.join(KEPT);
    prepare(&folder)?;
    let mut number = 0_u32;
    loop {
        let path = folder.join(format!("{log}-{position:020}-{number}"));
        match private().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(bytes)?;
                file.sync_all()?;
                sync(&folder)?;
                return Ok(path);
            }
            // Kept by a try before this one, which may have died before it was on the disk.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if std::fs::read(&path)? == bytes {
                    File::open(&path)?.sync_all()?;
                    sync(&folder)?;
                    return Ok(path);
                }
                number += 1;
            }
            Err(e) => return Err(e),
        }
    }
}

/// How many files lie there.
pub fn kept_files(parent: &Path) -> io::Result<usize> {
    Ok(kept(parent)?.len())
}

/// Removes files that are too old or too many, and none of these logs; how many went. Blocks.
pub fn forget_kept(parent: &Path, unsettled: &HashSet<String>, now: Timestamp) -> io::Result<usize> {
    let mut files = kept(parent)?;
    files.sort_by(|a, b| (a.at, &a.path).cmp(&(b.at, &b.path)));
    let too_many = files.len().saturating_sub(MOST_KEPT);
    let oldest = now.before(KEPT_FOR);
    let is_old = |file: &Kept| file.at < oldest;
    let goes = |(place, file): &(usize, &Kept)| *place < too_many || is_old(file);
    let is_left = |log: &str| unsettled.contains(log) || parent.join(log).exists();
    let mut gone = 0;
    for (_, file) in files.iter().enumerate().filter(goes).filter(|(_, file)| !is_left(&file.log)) {
        std::fs::remove_file(&file.path)?;
        gone += 1;
    }
    Ok(gone)
}

/// What else lies in the folder is none of ours.
fn kept(parent: &Path) -> io::Result<Vec<Kept>> {
    let mut files = Vec::new();
    let entries = match std::fs::read_dir(parent.join(KEPT)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(files),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(log) = name.to_str().and_then(log_of) else { continue };
        let about = match entry.metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            about => about?,
        };
        if about.is_file() {
            let at = Timestamp::from_ms(about.mtime().saturating_mul(1000));
            files.push(Kept { path: entry.path(), log: log.to_owned(), at });
        }
    }
    Ok(files)
}

/// The log that a file is of, by its name: the log's, a position, a number.
fn log_of(file: &str) -> Option<&str> {
    let (rest, number) = file.rsplit_once('-')?;
    let (log, position) = rest.rsplit_once('-')?;
    let are_digits = [number, position].iter().all(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    (are_digits && is_log_name(log)).then_some(log)
}

//! What is not surely a log of this database is left as it is.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wxpay_worker::intake::{DatabaseId, LogSettings, Owner, Piece, dead_logs, frame_of, keep_aside};

use super::{NAME, die, left, open, owner, record};

/// Everything below a folder, with its bytes.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.push((path.clone(), Vec::new()));
            found.extend(contents(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// A log of three records whose process is gone; the path of its only file.
async fn dead_log(parent: &Path) -> PathBuf {
    let (appender, reader) = open(parent, LogSettings::DEFAULT);
    for n in 0..3_u8 {
        appender.append(record(&[n; 50])).await.unwrap();
    }
    die(appender, reader).await;
    contents(&parent.join(NAME)).into_iter().map(|(path, _)| path).find(|path| path.extension().is_some()).unwrap()
}

/// Why the log is left alone, after a search that changed nothing.
fn why_left(parent: &Path) -> String {
    let before = contents(parent);
    let listing = dead_logs(parent, &owner()).unwrap();
    assert!(listing.dead.is_empty());
    assert_eq!(contents(parent), before, "nothing was touched");
    let why: Vec<String> = listing.left.into_iter().map(|left| left.why).collect();
    why.join("; ")
}

#[tokio::test]
async fn folders_of_others_are_not_touched() {
    let folder = TempDir::new().unwrap();
    for name in ["photos", "damaged", "notify-", "notify-AAAAAAAAAAAAAAAAAAAA", "wxpay.db-backup"] {
        let other = folder.path().join(name);
        fs::create_dir(&other).unwrap();
        fs::write(other.join("lock"), "").unwrap();
        fs::write(other.join("00000000000000000000-00000000000000000000.log"), "a file").unwrap();
    }
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("notify-bbbbbbbbbbbbbbbbbbbb"), "a file").unwrap();
    assert_eq!(why_left(folder.path()), "");
}

#[tokio::test]
async fn a_folder_with_the_name_of_a_log_and_no_valid_header_stays() {
    let folder = TempDir::new().unwrap();
    let own = folder.path().join(NAME);
    fs::create_dir(&own).unwrap();
    fs::write(own.join("lock"), "").unwrap();
    fs::write(own.join("00000000000000000000-00000000000000000000.log"), [7; 100]).unwrap();
    assert_eq!(why_left(folder.path()), "its header is damaged, and the database does not know it");
    fs::remove_file(own.join("00000000000000000000-00000000000000000000.log")).unwrap();
    fs::write(own.join("notes.txt"), "kept").unwrap();
    fs::remove_file(own.join("lock")).unwrap();
    assert_eq!(why_left(folder.path()), "it holds no file of a log");
}

#[tokio::test]
async fn a_log_of_another_database_stays() {
    let folder = TempDir::new().unwrap();
    dead_log(folder.path()).await;
    let other = DatabaseId::parse("zzzzzzzzzz0123456789").unwrap();
    let listing = dead_logs(folder.path(), &Owner { database: Some(other), known: HashSet::new() }).unwrap();
    assert!(listing.dead.is_empty());
    assert_eq!(listing.left[0].why, "it is of another database");
    assert_eq!(left(folder.path()).len(), 1, "its own database has it all the same");
}

#[tokio::test]
async fn a_log_of_a_later_form_stays_and_holds_up_no_other() {
    let folder = TempDir::new().unwrap();
    let file = dead_log(folder.path()).await;
    let later = folder.path().join("notify-bbbbbbbbbbbbbbbbbbbb");
    fs::rename(folder.path().join(NAME), &later).unwrap();
    let file = later.join(file.file_name().unwrap());
    let mut bytes = fs::read(&file).unwrap();
    bytes[7] = b'2';
    fs::write(&file, bytes).unwrap();
    assert_eq!(why_left(folder.path()), "it is of a form that this version does not know");
    dead_log(folder.path()).await;
    let listing = dead_logs(folder.path(), &owner()).unwrap();
    assert_eq!((listing.dead.len(), listing.left.len()), (1, 1));
}

#[tokio::test]
async fn a_log_without_its_lock_file_gets_none() {
    let folder = TempDir::new().unwrap();
    dead_log(folder.path()).await;
    fs::remove_file(folder.path().join(NAME).join("lock")).unwrap();
    assert_eq!(why_left(folder.path()), "it has no lock file");
}

#[tokio::test]
async fn a_record_of_a_later_form_is_neither_damage_nor_the_end() {
    let folder = TempDir::new().unwrap();
    let file = dead_log(folder.path()).await;
    let mut bytes = fs::read(&file).unwrap();
    let position = bytes.len() as u64 - 40;
    bytes.extend(frame_of(&[b"2\nwhat a later version says"]).unwrap());
    bytes.extend(frame_of(&[&record(b"behind").to_bytes()]).unwrap());
    fs::write(&file, bytes).unwrap();
    let pieces = left(folder.path())[0].read(0, 0).unwrap().pieces;
    assert_eq!(pieces.len(), 5);
    assert_eq!(pieces[3], Piece::Unknown(position));
    assert!(matches!(&pieces[4], Piece::Record(durable) if durable.record.payload == b"behind"));
}

#[tokio::test]
async fn a_missing_file_shows_between_its_neighbours() {
    let folder = TempDir::new().unwrap();
    let (appender, reader) = open(folder.path(), LogSettings { file_bytes: 100, ..LogSettings::DEFAULT });
    for n in 0..3_u8 {
        appender.append(record(&[n; 200])).await.unwrap();
    }
    die(appender, reader).await;
    let files: Vec<PathBuf> = contents(&folder.path().join(NAME)).into_iter().map(|(path, _)| path).collect();
    fs::remove_file(&files[1]).unwrap();
    let dead = left(folder.path()).pop().unwrap();
    let [first, last] = [0, 1].map(|file| dead.read(file, 0).unwrap());
    assert!(last.begins > first.ends, "{} and {}", last.begins, first.ends);
}

#[tokio::test]
async fn removing_a_log_leaves_what_is_none_of_it() {
    let folder = TempDir::new().unwrap();
    dead_log(folder.path()).await;
    let note = folder.path().join(NAME).join("note.txt");
    fs::write(&note, "kept").unwrap();
    let dead = left(folder.path()).pop().unwrap();
    assert!(dead.remove().is_err(), "its folder is not empty");
    assert_eq!(fs::read(&note).unwrap(), b"kept");
    assert_eq!(contents(&folder.path().join(NAME)).len(), 1, "the log itself is gone");
}

#[test]
fn bytes_that_are_kept_replace_none_and_are_kept_once() {
    let folder = TempDir::new().unwrap();
    let parent = folder.path().join("made/on the way");
    let first = keep_aside(&parent, NAME, 7, b"first").unwrap();
    assert_eq!(keep_aside(&parent, NAME, 7, b"first").unwrap(), first);
    let second = keep_aside(&parent, NAME, 7, b"second").unwrap();
    assert_eq!((fs::read(first).unwrap(), fs::read(second).unwrap()), (b"first".to_vec(), b"second".to_vec()));
}

//! Room that is made in a file ahead of the records: it is neither damage nor the end of what counts.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wxpay_worker::intake::{Damage, DeadLog, LogSettings, Piece, ROOM, dead_logs, frame_of, survey};

use super::{NAME, left, open, owner, record};

const RECORDS: u8 = 9;

/// What a process leaves that is killed: its files as they are, and a lock without a holder.
async fn killed(settings: LogSettings) -> TempDir {
    let (living, folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (appender, _reader) = open(living.path(), settings);
    for n in 1..=RECORDS {
        appender.append(record(&[n; 600])).await.unwrap();
    }
    let log = folder.path().join(NAME);
    fs::create_dir(&log).unwrap();
    for entry in fs::read_dir(living.path().join(NAME)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), log.join(entry.file_name())).unwrap();
    }
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join(NAME)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some()).collect();
    files.sort();
    files
}

fn only_dead(folder: &Path) -> DeadLog {
    let [dead] = <[DeadLog; 1]>::try_from(left(folder)).unwrap();
    dead
}

/// How many records a file holds, its damage, and where it ends.
fn read(dead: &DeadLog, file: usize) -> (u8, Vec<Damage>, u64) {
    let part = dead.read(file, 0).unwrap();
    let (mut records, mut damaged) = (0, Vec::new());
    for piece in part.pieces {
        match piece {
            Piece::Record(_) => records += 1,
            Piece::Damage(damage) => damaged.push(damage),
            Piece::Unknown(position) => panic!("unknown at {position}"),
        }
    }
    (records, damaged, part.ends)
}

#[tokio::test]
async fn the_file_grows_once_for_many_records() {
    let folder = TempDir::new().unwrap();
    let (appender, reader) = open(folder.path(), LogSettings::DEFAULT);
    appender.append(record(&[1; 600])).await.unwrap();
    let file = files(folder.path()).pop().unwrap();
    let length = || fs::metadata(&file).unwrap().len();
    let first = length();
    assert!(first > 1024 * 1024, "{first}");
    for n in 2..=RECORDS {
        appender.append(record(&[n; 600])).await.unwrap();
    }
    assert_eq!(length(), first);
    // More than the room that is left, with one record.
    appender.append(record(&vec![1; 1024 * 1024])).await.unwrap();
    assert!(length() > first + 1024 * 1024, "{}", length());
    // A process that ends in order leaves the records alone.
    let state = appender.state();
    super::die(appender, reader).await;
    assert_eq!(length(), 40 + state.unsettled_bytes);
}

#[tokio::test]
async fn behind_the_last_record_it_is_nothing_and_behind_a_torn_one_no_part_of_it() {
    let folder = killed(LogSettings::DEFAULT).await;
    let file = files(folder.path()).pop().unwrap();
    let whole = fs::read(&file).unwrap();
    let used = whole.iter().rposition(|byte| *byte != ROOM).unwrap() + 1;
    assert!(whole.len() > used + 1000);
    let found = survey(folder.path(), &owner()).unwrap();
    assert_eq!(found.logs[0].ends, used as u64 - 40);
    {
        let dead = only_dead(folder.path());
        assert_eq!(read(&dead, 0), (RECORDS, Vec::new(), used as u64 - 40));
    }
    let torn = &frame_of(&[&[7; 50]]).unwrap()[..20];
    let mut bytes = whole;
    bytes[used..used + torn.len()].copy_from_slice(torn);
    fs::write(&file, &bytes).unwrap();
    let damage = Damage { position: used as u64 - 40, bytes: torn.to_vec(), is_end: true };
    let ends = damage.position + torn.len() as u64;
    assert_eq!(read(&only_dead(folder.path()), 0), (RECORDS, vec![damage], ends));
    // As where the disk lost the last write.
    let last = bytes[..used].windows(4).rposition(|window| window == b"\xf5WXR").unwrap();
    bytes.truncate(used + 5000);
    bytes[last..used].fill(0);
    bytes[used..].fill(ROOM);
    fs::write(&file, &bytes).unwrap();
    let (records, damaged, ends) = read(&only_dead(folder.path()), 0);
    assert_eq!((records, damaged.len(), ends), (RECORDS - 1, 1, used as u64 - 40));
    assert_eq!(damaged[0].bytes, vec![0; used - last]);
}

#[tokio::test]
async fn room_where_the_next_file_says_that_records_were_is_damage() {
    let folder = killed(LogSettings { file_bytes: 1500, ..LogSettings::DEFAULT }).await;
    let all = files(folder.path());
    assert!(all.len() > 2, "{}", all.len());
    let whole = fs::read(&all[0]).unwrap();
    let each = (whole.len() - 40) / 3;
    // Its room was not given back, as where the power fails.
    let mut bytes = whole.clone();
    bytes.resize(whole.len() + 5000, ROOM);
    fs::write(&all[0], &bytes).unwrap();
    let ends = whole.len() as u64 - 40;
    assert_eq!(read(&only_dead(folder.path()), 0), (3, Vec::new(), ends));
    bytes[40 + 2 * each..].fill(ROOM);
    fs::write(&all[0], &bytes).unwrap();
    let damage = Damage { position: 2 * each as u64, bytes: vec![ROOM; each], is_end: false };
    assert_eq!(read(&only_dead(folder.path()), 0), (2, vec![damage], ends));
    assert_eq!(dead_logs(folder.path(), &owner()).unwrap().left, []);
}

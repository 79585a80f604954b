//! Appending to a log, and reading one that a process left.

use std::path::Path;

use futures_util::future::join_all;
use tempfile::TempDir;
use wxpay_worker::intake::{AppendError, Damage, DeadLog, Durable, LogSettings, Piece, Reader, Record};

use super::{NAME, die, left, open, record};
use crate::harness::within_timeout;

/// The files of the log, in their order.
fn files(parent: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(parent.join(NAME)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "log")).collect();
    files.sort();
    files
}

async fn next(reader: &mut Reader, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        let taken = within_timeout("a record", reader.take(count - records.len())).await;
        assert!(!taken.is_empty(), "the log ended after {} records", records.len());
        records.extend(taken.into_iter().map(|durable| durable.record));
    }
    records
}

fn only_dead(parent: &Path) -> DeadLog {
    let mut found = left(parent);
    assert_eq!(found.len(), 1);
    found.pop().unwrap()
}

/// Every record behind this position, and the damage between them.
fn read(dead: &DeadLog, after: u64) -> (Vec<Durable>, Vec<Damage>) {
    let (mut records, mut damaged) = (Vec::new(), Vec::new());
    for file in 0..dead.files() {
        for piece in dead.read(file, after).unwrap().pieces {
            match piece {
                Piece::Record(record) => records.push(record),
                Piece::Damage(damage) => damaged.push(damage),
                Piece::Unknown(position) => panic!("unknown at {position}"),
            }
        }
    }
    (records, damaged)
}

#[tokio::test]
async fn what_is_appended_is_read_in_order_and_is_in_the_files_before_the_answer() {
    let folder = TempDir::new().unwrap();
    let (appender, mut reader) = open(folder.path(), LogSettings::DEFAULT);
    let wanted: Vec<Record> = (0..100_u32).map(|n| record(format!("payload {n}\nwith lines").as_bytes())).collect();
    for one in join_all(wanted.iter().map(|record| appender.append(record.clone()))).await {
        assert_eq!(one, Ok(()));
    }
    let stored: Vec<u8> = files(folder.path()).iter().flat_map(|file| std::fs::read(file).unwrap()).collect();
    for one in &wanted {
        assert!(stored.windows(one.payload.len()).any(|window| window == one.payload));
    }
    assert_eq!(next(&mut reader, 100).await, wanted);
}

#[tokio::test]
async fn a_living_log_is_read_by_no_other_and_a_dead_one_is_read_from_any_of_its_records() {
    let folder = TempDir::new().unwrap();
    let (appender, mut reader) = open(folder.path(), LogSettings::DEFAULT);
    let wanted: Vec<Record> = (0..5_u8).map(|n| record(&[n])).collect();
    for one in &wanted {
        appender.append(one.clone()).await.unwrap();
    }
    let positions: Vec<u64> =
        within_timeout("a record", reader.take(5)).await.into_iter().map(|durable| durable.to).collect();
    assert!(left(folder.path()).is_empty(), "its process lives");
    die(appender, reader).await;
    let dead = only_dead(folder.path());
    assert!(left(folder.path()).is_empty(), "it is taken over");
    for (settled, after) in std::iter::once(0).chain(positions).enumerate() {
        let (left, damage) = read(&dead, after);
        let left: Vec<Record> = left.into_iter().map(|durable| durable.record).collect();
        assert_eq!((left.as_slice(), damage.len()), (&wanted[settled..], 0), "after {settled}");
    }
    dead.remove().unwrap();
    assert!(left(folder.path()).is_empty());
}

#[tokio::test]
async fn a_full_log_refuses_and_takes_again_what_was_settled() {
    let folder = TempDir::new().unwrap();
    let settings = LogSettings { max_bytes: 1000, ..LogSettings::DEFAULT };
    let (appender, mut reader) = open(folder.path(), settings);
    appender.append(record(&[1; 600])).await.unwrap();
    assert_eq!(appender.append(record(&[2; 600])).await, Err(AppendError::Full));
    let first = within_timeout("a record", reader.take(1)).await.pop().unwrap();
    reader.log().settled_up_to(first.to);
    assert_eq!(reader.log().state().unsettled_bytes, 0);
    appender.append(record(&[3; 600])).await.unwrap();
    assert_eq!(next(&mut reader, 1).await[0].payload, [3; 600]);
}

#[tokio::test]
async fn settled_files_go_and_the_others_stay() {
    let folder = TempDir::new().unwrap();
    let settings = LogSettings { file_bytes: 500, ..LogSettings::DEFAULT };
    let (appender, mut reader) = open(folder.path(), settings);
    let wanted: Vec<Record> = (0..10_u8).map(|n| record(&[n; 600])).collect();
    for one in &wanted[..5] {
        appender.append(one.clone()).await.unwrap();
    }
    assert_eq!(files(folder.path()).len(), 5, "nothing is settled");
    let fourth = within_timeout("a record", reader.take(4)).await.pop().unwrap();
    reader.log().settled_up_to(fourth.to);
    for one in &wanted[5..] {
        appender.append(one.clone()).await.unwrap();
    }
    assert_eq!(files(folder.path()).len(), 6);
    die(appender, reader).await;
    let (left, damage) = read(&only_dead(folder.path()), fourth.to);
    let left: Vec<Record> = left.into_iter().map(|durable| durable.record).collect();
    assert_eq!((left.as_slice(), damage.len()), (&wanted[4..], 0));
}

#[tokio::test]
async fn a_torn_end_is_kept_apart_from_damage_before_it_and_every_whole_record_is_read() {
    let folder = TempDir::new().unwrap();
    let (appender, reader) = open(folder.path(), LogSettings::DEFAULT);
    let wanted: Vec<Record> = (0..3_u8).map(|n| record(&[n; 50])).collect();
    for one in &wanted {
        appender.append(one.clone()).await.unwrap();
    }
    die(appender, reader).await;
    let file = files(folder.path()).pop().unwrap();
    let whole = std::fs::read(&file).unwrap();
    let dead = only_dead(folder.path());
    let header = 40;
    let each = (whole.len() - header) / 3;
    for end in header + 2 * each..whole.len() {
        std::fs::write(&file, &whole[..end]).unwrap();
        let (left, damage) = read(&dead, 0);
        assert_eq!(left.len(), 2, "cut off at {end}");
        assert_eq!(damage.len(), usize::from(end > header + 2 * each), "cut off at {end}");
        assert!(damage.iter().all(|damage| damage.is_end), "cut off at {end}");
    }
    for at in header..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        std::fs::write(&file, &changed).unwrap();
        let (left, damage) = read(&dead, 0);
        assert_eq!((left.len(), damage.len()), (2, 1), "byte {at}");
        assert_eq!(damage[0].is_end, at >= header + 2 * each, "byte {at}");
        assert_eq!(std::fs::read(dead.keep(damage[0].position, &damage[0].bytes).unwrap()).unwrap(), damage[0].bytes);
    }
    assert!(left(folder.path()).is_empty(), "what is kept aside is no log");
}

#[tokio::test]
async fn a_closed_log_takes_nothing_and_hands_on_all_it_took() {
    let folder = TempDir::new().unwrap();
    let (appender, mut reader) = open(folder.path(), LogSettings::DEFAULT);
    appender.append(record(b"last")).await.unwrap();
    appender.close();
    assert_eq!(appender.append(record(b"late")).await, Err(AppendError::Closed));
    assert_eq!(next(&mut reader, 1).await[0].payload, b"last");
    assert!(within_timeout("the end of the log", reader.take(1)).await.is_empty());
    drop(appender);
    reader.log().remove().unwrap();
    assert!(left(folder.path()).is_empty());
}

#[tokio::test]
async fn what_waits_is_counted_with_its_age_until_it_is_settled() {
    let folder = TempDir::new().unwrap();
    let (appender, mut reader) = open(folder.path(), LogSettings::DEFAULT);
    assert_eq!((appender.state().unsettled_bytes, appender.state().oldest), (0, None));
    assert_eq!(appender.state().unsettled_records, 0);
    for n in 0..2_u8 {
        appender.append(record(&[n; 100])).await.unwrap();
    }
    let taken = within_timeout("a record", reader.take(1)).await.pop().unwrap();
    let before = appender.state();
    assert!(before.oldest.is_some() && before.unsettled_bytes > taken.to, "both wait: {before:?}");
    assert_eq!(before.unsettled_records, 2);
    reader.log().settled_up_to(taken.to);
    let after = appender.state();
    assert!(after.oldest.is_some() && after.unsettled_bytes < before.unsettled_bytes, "one waits: {after:?}");
    assert_eq!(after.unsettled_records, 1);
    let last = within_timeout("a record", reader.take(1)).await.pop().unwrap();
    reader.log().settled_up_to(last.to);
    let settled = appender.state();
    assert_eq!((settled.unsettled_bytes, settled.unsettled_records, settled.oldest), (0, 0, None));
}

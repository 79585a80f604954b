//! What lies in the intake logs beside a database, as its files and cursors say.

use std::path::{Path, PathBuf};

use wxpay_worker::intake::ROOM;
use wxpay_worker::store::{Db, DbKind};

use crate::harness::sql::texts;

/// Bytes before the first record of a file.
const HEADER: usize = 40;

/// The logs of this database that hold what is not settled, with the positions of cursor and end. Those that no process
/// can read are not among them.
pub async fn unsettled(db: &Db) -> Vec<String> {
    if db.kind() != DbKind::Sqlite {
        return Vec::new();
    }
    let file = texts(db, "SELECT file FROM pragma_database_list WHERE name = 'main'").await.pop().unwrap();
    // The ends before the cursors: those only come nearer.
    let id = texts(db, "SELECT id FROM intake_database").await.pop().unwrap_or_default();
    let ends = ends(Path::new(&format!("{file}.intake")), &id);
    let cursors = texts(db, "SELECT log || ' ' || position FROM intake_logs").await;
    let cursor = |log: &str| {
        let of = cursors.iter().find_map(|line| line.strip_prefix(log)?.trim().parse::<u64>().ok());
        of.unwrap_or_default()
    };
    let behind = ends.into_iter().filter(|(log, end)| log.exists() && cursor(&name(log)) < *end);
    behind.map(|(log, end)| format!("{} settled up to {} of {end}", name(&log), cursor(&name(&log)))).collect()
}

fn name(log: &Path) -> String {
    log.file_name().unwrap().to_string_lossy().into_owned()
}

/// The position behind the last byte of each log.
fn ends(folder: &Path, database: &str) -> Vec<(PathBuf, u64)> {
    let logs = entries(folder).into_iter().filter(|log| name(log).starts_with("notify-"));
    logs.filter_map(|log| {
        let mut files = entries(&log);
        files.retain(|file| file.extension().is_some());
        files.sort();
        let is_readable = files.iter().all(|file| !file.is_dir());
        // A file that goes at this moment was settled, and one that is made has no record yet.
        let (is_ours, end) = files.iter().rev().find_map(|file| end(file, database))?;
        (is_ours && is_readable).then_some((log, end))
    })
    .collect()
}

/// Whether a file is of this database, and the position behind the last byte that is written: room follows.
fn end(path: &Path, database: &str) -> Option<(bool, u64)> {
    let bytes = std::fs::read(path).ok()?;
    let header = bytes.get(..HEADER)?;
    let start: u64 = name(path).split('-').next()?.parse().ok()?;
    let used = bytes[HEADER..].iter().rposition(|byte| *byte != ROOM).map_or(0, |last| last as u64 + 1);
    Some((header[8..28] == *database.as_bytes(), start + used))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

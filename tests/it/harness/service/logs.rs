//! What lies in the intake logs beside a database, as its files and cursors say.

use std::path::{Path, PathBuf};

use wxpay_worker::store::{Db, DbKind};

use crate::harness::sql::texts;

/// Bytes before the first record of a file.
const HEADER: u64 = 40;

/// The logs that hold what is not settled, with the positions of cursor and end.
pub async fn unsettled(db: &Db) -> Vec<String> {
    if db.kind() != DbKind::Sqlite {
        return Vec::new();
    }
    let file = texts(db, "SELECT file FROM pragma_database_list WHERE name = 'main'").await.pop().unwrap();
    // The ends before the cursors: those only come nearer.
    let ends = ends(Path::new(&format!("{file}.intake")));
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
fn ends(folder: &Path) -> Vec<(PathBuf, u64)> {
    let logs = entries(folder).into_iter().filter(|log| name(log).starts_with("notify-"));
    logs.map(|log| {
        let last = entries(&log).into_iter().filter(|file| file.extension().is_some()).max();
        // A file that goes at this moment was settled.
        let end = last.and_then(|file| {
            let start: u64 = file.file_name()?.to_str()?.split('-').next()?.parse().ok()?;
            Some(start + std::fs::metadata(&file).ok()?.len().saturating_sub(HEADER))
        });
        (log, end.unwrap_or_default())
    })
    .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

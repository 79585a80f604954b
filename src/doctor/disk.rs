//! The disk of the database's file.

use std::path::Path;

use rustix::fs::statvfs;
use tokio::sync::oneshot;

use super::finding::{Finding, Status};
use crate::config::Config;

const CHECK: &str = "disk";
/// With less, the next writes fail.
const FULL_MIB: u64 = 64;
/// With less, space is to be made.
const LOW_MIB: u64 = 1024;
const MIB: u64 = 1024 * 1024;

/// The space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub free: u64,
    pub total: u64,
}

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let Some(file) = config.store.sqlite_file() else {
        let text = "PostgreSQL's disk cannot be seen from here";
        return vec![Finding::new(CHECK, Status::NotChecked, text)];
    };
    let parent = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new(".")).to_owned();
    // In a thread that is not awaited at the end: a network file system may not answer.
    let (sender, asked) = oneshot::channel();
    let at = folder.clone();
    std::thread::spawn(move || sender.send(statvfs(&at)));
    let Ok(space) = asked.await else { return Vec::new() };
    vec![match space {
        Ok(stat) => {
            let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
            of_space(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
        }
        Err(error) => Finding::new(CHECK, Status::NotChecked, format!("{}: {error}", folder.display())),
    }]
}

/// Whether that is enough.
pub fn of_space(space: Space) -> Finding {
    let found = format!("{} MiB of {} MiB are free for the database", space.free / MIB, space.total / MIB);
    let mend = "make space, or enlarge the volume; [retention] says how long rows are kept";
    if space.free < FULL_MIB * MIB {
        Finding::new(CHECK, Status::Problem, found).mend(mend)
    } else if space.free < LOW_MIB * MIB {
        Finding::new(CHECK, Status::Warning, found).mend(mend)
    } else {
        Finding::new(CHECK, Status::Ok, found)
    }
}

//! The files of a run. The folder goes with the value that stands for it; what a killed process left is swept later.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::secret::random_text;

const PREFIX: &str = "wxpay-run-";
/// Longer than a run can last.
const ABANDONED: Duration = Duration::from_secs(6 * 3600);

/// A folder of its own, for the service's user alone: rows have numbers and amounts.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    files: AtomicU64,
}

impl Folder {
    /// Makes one below `parent`, which is made where it is missing, and removes those that killed processes left there.
    pub fn create(parent: &Path) -> io::Result<Folder> {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        sweep(parent);
        let path = parent.join(format!("{PREFIX}{}", random_text(12)));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder { path, files: AtomicU64::new(0) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new file, and where it is.
    pub fn file(&self) -> io::Result<(PathBuf, File)> {
        let path = self.path.join(self.files.fetch_add(1, Ordering::Relaxed).to_string());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((path, file))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_run = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_run && age.is_some_and(|age| age > ABANDONED) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

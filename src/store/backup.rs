//! Backups of a SQLite file while the service runs.
//!
//! What must stay true: a backup that has its name is complete, was read as a whole and is on the disk; what was
//! committed when it began is in it; folders beside the database are copied before it, so that the database's place in
//! them is behind nothing that was not copied.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::writer::{Contents, SnapshotError, examine, snapshot};
use crate::clock::Timestamp;

/// The database's name in a backup.
pub const DATABASE: &str = "wxpay.db";

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    #[error("there is a backup of this second: {0}")]
    Exists(PathBuf),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// A backup that was made.
#[derive(Debug, Clone)]
pub struct Backup {
    pub folder: PathBuf,
    pub bytes: u64,
    pub contents: Contents,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |e| BackupError::File(path, e)
}

/// Copies `beside`, then the database, into a folder of its own in `into`. It blocks.
pub fn backup(database: &Path, beside: &[PathBuf], into: &Path, at: Timestamp) -> Result<Backup, BackupError> {
    create_folder(into, true)?;
    let name = at.to_string().replace(':', "-");
    let (done, partial) = (into.join(&name), into.join(format!("{name}.{}.partial", std::process::id())));
    if done.exists() {
        return Err(BackupError::Exists(done));
    }
    create_folder(&partial, false)?;
    let made = fill(database, beside, &partial);
    // An empty folder of the name would be replaced: what has the name is never changed.
    let made = made.and_then(|made| {
        std::fs::rename(&partial, &done).map_err(failed(&done))?;
        sync(into)?;
        Ok(made)
    });
    let (bytes, contents) = made.inspect_err(|_| {
        // What is left of it is no backup, and is in the way of nothing.
        let _ = std::fs::remove_dir_all(&partial);
    })?;
    Ok(Backup { folder: done, bytes, contents })
}

fn fill(database: &Path, beside: &[PathBuf], folder: &Path) -> Result<(u64, Contents), BackupError> {
    for source in beside {
        let name = source.file_name().unwrap_or(source.as_os_str());
        copy_folder(source, &folder.join(name))?;
    }
    let copy = folder.join(DATABASE);
    // SQLite would make the file for others to read.
    create_file(&copy)?;
    snapshot(database, &copy)?;
    let contents = examine(&copy)?;
    let file = File::open(&copy).map_err(failed(&copy))?;
    file.sync_all().map_err(failed(&copy))?;
    sync(folder)?;
    Ok((file.metadata().map_err(failed(&copy))?.len(), contents))
}

/// Copies files and folders, and nothing else. A file that is removed meanwhile is not missed: what it held is in the
/// database by then.
fn copy_folder(from: &Path, to: &Path) -> Result<(), BackupError> {
    create_folder(to, false)?;
    let entries = match std::fs::read_dir(from) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed(from))?,
    };
    for entry in entries {
        let entry = entry.map_err(failed(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed(&source))?;
        if kind.is_dir() {
            copy_folder(&source, &target)?;
        } else if kind.is_file() {
            copy_file(&source, &target)?;
        }
    }
    sync(to)
}

fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    let mut source = match File::open(from) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        source => source.map_err(failed(from))?,
    };
    let mut target = create_file(to)?;
    io::copy(&mut source, &mut target).map_err(failed(to))?;
    target.sync_all().map_err(failed(to))
}

/// For this user alone.
fn create_file(file: &Path) -> Result<File, BackupError> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed(file))
}

fn create_folder(folder: &Path, with_parents: bool) -> Result<(), BackupError> {
    DirBuilder::new().recursive(with_parents).mode(0o700).create(folder).map_err(failed(folder))
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> Result<(), BackupError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

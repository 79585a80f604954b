//! Writing: everything or nothing, for this user alone, and never over a file that exists.
//!
//! What must stay true: whatever fails, what was there before is there again under its own name, and nothing
//! half-written is. So new files are complete, under names of their own, before the first one takes its place. A
//! process that is killed leaves under each name the old file or the new one, whole, and the next run says that it was.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::fresh::{ApiKey, secrets};
use super::kind::Kind;
use super::text::{SANDBOX_MCH_ID, configuration};
use crate::clock::Timestamp;
use crate::config::SANDBOX_FOLDER;
use crate::ids::{IdError, MchId};
use crate::sandbox::make_certificates;
use crate::secret::random_text;

/// The names of new files until they are in their place.
const STAGED: &str = "new-";

/// The secret that stays, also with `--force`.
const NEVER_ANOTHER: &str = "payers.key";

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("already there: {}. --force writes new files and keeps these, under names with the time", all(.0))]
    Exists(Vec<PathBuf>),
    #[error(
        "an earlier init was interrupted: some files beside these may be its new ones, others the old ones: {}. \
         --force writes all of them anew and removes these",
        all(.0)
    )]
    Interrupted(Vec<PathBuf>),
    #[error("{}: {source}", .file.display())]
    File { file: PathBuf, source: io::Error },
    #[error("the simulator's certificates: {0}")]
    Certificates(String),
    #[error("the simulator's merchant: {0}")]
    Merchant(#[from] IdError),
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// For the shop's server. The configuration has only its hash.
    pub api_key: String,
    /// Files, the configuration last.
    pub files: Vec<PathBuf>,
    /// What was there before, and where it is now.
    pub kept: Vec<(PathBuf, PathBuf)>,
    /// What a run that was killed had left, and is removed.
    pub left: Vec<PathBuf>,
}

/// Writes a configuration of this kind to `file`, and its secrets beside it. With `force`, what is there is renamed.
pub fn write(kind: Kind, file: &Path, force: bool, now: Timestamp) -> Result<Written, InitError> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let api_key = ApiKey::new();
    let mut contents: Vec<(PathBuf, String)> =
        secrets(kind).into_iter().map(|(name, content)| (folder.join("secrets").join(name), content)).collect();
    // Names that were made with it say nothing without it: it is never another one.
    contents.retain(|(path, _)| !(path.ends_with(NEVER_ANOTHER) && is_there(path)));
    // The last one: a configuration that is there is complete.
    contents.push((file.to_owned(), configuration(kind, &api_key.hash)));
    let existing: Vec<PathBuf> = contents.iter().map(|(path, _)| path.clone()).filter(|path| is_there(path)).collect();
    let left: Vec<PathBuf> = contents.iter().flat_map(|(path, _)| left_beside(path)).collect();
    if !force && !left.is_empty() {
        return Err(InitError::Interrupted(left));
    }
    if !force && !existing.is_empty() {
        return Err(InitError::Exists(existing));
    }
    let secrets_folder = folder.join("secrets");
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&secrets_folder);
    made.map_err(|source| InitError::File { file: secrets_folder, source })?;
    if kind == Kind::Sandbox {
        let merchant = MchId::parse(SANDBOX_MCH_ID)?;
        make_certificates(&folder.join(SANDBOX_FOLDER), &[merchant]).map_err(InitError::Certificates)?;
    }
    let mut staged = Staged::default();
    for (path, content) in &contents {
        staged.add(path, content)?;
    }
    let kept = staged.put_in_place(existing, now)?;
    left.iter().for_each(|path| drop(std::fs::remove_file(path)));
    let files = contents.into_iter().map(|(path, _)| path).collect();
    Ok(Written { api_key: api_key.key, files, kept, left })
}

/// New files under names of their own, which are removed unless they are put in place.
#[derive(Default)]
struct Staged {
    /// Where each is, and where it belongs.
    files: Vec<(PathBuf, PathBuf)>,
}

impl Staged {
    fn add(&mut self, path: &Path, content: &str) -> Result<(), InitError> {
        let staged = beside(path, &format!("{STAGED}{}", random_text(8)));
        self.files.push((staged.clone(), path.to_owned()));
        put(&staged, content).map_err(|source| InitError::File { file: path.to_owned(), source })
    }

    /// Gives what is there a second name, then has the new files take its place; on an error all of it back. Answers
    /// what is kept, and where.
    fn put_in_place(mut self, existing: Vec<PathBuf>, now: Timestamp) -> Result<Vec<(PathBuf, PathBuf)>, InitError> {
        let mut kept = Vec::new();
        let mut done = Vec::new();
        let outcome = existing
            .into_iter()
            .try_for_each(|path| linked(path, now).map(|pair| kept.push(pair)))
            .and_then(|()| self.folders_synced())
            .and_then(|()| {
                self.files.iter().try_for_each(|(staged, path)| {
                    let has_second_name = kept.iter().any(|(old, _)| old == path);
                    if has_second_name { renamed(staged, path) } else { rename_to_free(staged, path) }?;
                    done.push(path.clone());
                    crate::failpoint::point("init.renamed");
                    Ok(())
                })
            })
            .and_then(|()| self.folders_synced());
        match outcome {
            Ok(()) => {
                self.files.clear();
                Ok(kept)
            }
            Err(e) => {
                // The error says what failed; what cannot be undone beside it is under the names with the time.
                for path in done.iter().filter(|path| kept.iter().all(|(old, _)| old != *path)) {
                    let _ = std::fs::remove_file(path);
                }
                // Where the new file is not there yet both names are of one file, which a rename leaves as it is.
                for (path, to) in &kept {
                    // Otherwise the second name is the only one of what was there.
                    if std::fs::rename(to, path).is_ok() {
                        let _ = std::fs::remove_file(to);
                    }
                }
                Err(e)
            }
        }
    }

    /// The names of the files are on the disk, not their contents alone.
    fn folders_synced(&self) -> Result<(), InitError> {
        let folders: BTreeSet<&Path> = self.files.iter().map(|(_, path)| folder_of(path)).collect();
        folders.into_iter().try_for_each(|folder| {
            let synced = File::open(folder).and_then(|opened| opened.sync_all());
            synced.map_err(|source| InitError::File { file: folder.to_owned(), source })
        })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.files.iter().for_each(|(staged, _)| drop(std::fs::remove_file(staged)));
    }
}

fn all(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A link to nothing counts: writing would follow it.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Gives a file a second name with the time.
fn linked(path: PathBuf, now: Timestamp) -> Result<(PathBuf, PathBuf), InitError> {
    let to = beside(&path, &now.to_beijing());
    let linked = std::fs::hard_link(&path, &to);
    linked.map_err(|source| InitError::File { file: to.clone(), source }).map(|()| (path, to))
}

/// New files of a run that was killed.
fn left_beside(path: &Path) -> Vec<PathBuf> {
    let begin = beside(path, STAGED);
    let begin = begin.file_name().unwrap_or_default().as_encoded_bytes();
    let entries = std::fs::read_dir(folder_of(path)).into_iter().flatten().flatten();
    let mut left: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| starts_with(path, begin)).collect();
    left.sort();
    left
}

fn starts_with(path: &Path, begin: &[u8]) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(begin))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The name with more behind it.
fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{more}"));
    PathBuf::from(name)
}

fn rename_to_free(from: &Path, to: &Path) -> Result<(), InitError> {
    if is_there(to) {
        return Err(InitError::File { file: to.to_owned(), source: io::ErrorKind::AlreadyExists.into() });
    }
    renamed(from, to)
}

/// Also in the place of another file, which is there until then.
fn renamed(from: &Path, to: &Path) -> Result<(), InitError> {
    std::fs::rename(from, to).map_err(|source| InitError::File { file: to.to_owned(), source })
}

fn put(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

//! Writing: everything or nothing, for this user alone, and never over a file that exists.

use std::fs::{DirBuilder, OpenOptions};
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

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("already there: {}. --force writes new files and keeps these, under names with the time", all(.0))]
    Exists(Vec<PathBuf>),
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
}

/// Writes a configuration of this kind to `file`, and its secrets beside it. With `force`, what is there is renamed.
pub fn write(kind: Kind, file: &Path, force: bool, now: Timestamp) -> Result<Written, InitError> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let api_key = ApiKey::new();
    let mut contents: Vec<(PathBuf, String)> =
        secrets(kind).into_iter().map(|(name, content)| (folder.join("secrets").join(name), content)).collect();
    // The last one: a configuration that is there is complete.
    contents.push((file.to_owned(), configuration(kind, &api_key.hash)));
    let existing: Vec<PathBuf> = contents.iter().map(|(path, _)| path.clone()).filter(|path| is_there(path)).collect();
    if !force && !existing.is_empty() {
        return Err(InitError::Exists(existing));
    }
    let kept = existing.into_iter().map(|path| moved(path, now)).collect::<Result<Vec<_>, _>>()?;
    let secrets_folder = folder.join("secrets");
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&secrets_folder);
    made.map_err(|source| InitError::File { file: secrets_folder, source })?;
    if kind == Kind::Sandbox {
        let merchant = MchId::parse(SANDBOX_MCH_ID)?;
        make_certificates(&folder.join(SANDBOX_FOLDER), &[merchant]).map_err(InitError::Certificates)?;
    }
    for (path, content) in &contents {
        put(path, content).map_err(|source| InitError::File { file: path.clone(), source })?;
    }
    let files = contents.into_iter().map(|(path, _)| path).collect();
    Ok(Written { api_key: api_key.key, files, kept })
}

fn all(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A link to nothing counts: writing would follow it.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn moved(path: PathBuf, now: Timestamp) -> Result<(PathBuf, PathBuf), InitError> {
    let mut name = path.clone().into_os_string();
    name.push(format!(".{}", now.to_beijing()));
    let to = PathBuf::from(name);
    let outcome = if is_there(&to) { Err(io::ErrorKind::AlreadyExists.into()) } else { std::fs::rename(&path, &to) };
    match outcome {
        Ok(()) => Ok((path, to)),
        Err(source) => Err(InitError::File { file: to, source }),
    }
}

fn put(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

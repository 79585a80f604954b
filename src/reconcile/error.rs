//! Why a run brought no result.

use std::io;
use std::io::ErrorKind;
use std::path::Path;

use crate::store::DbError;
use crate::wechat::v2::bill::{BillError, DownloadError};

/// Why a run brought no result. The result before it stays.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}")]
    Download(#[from] DownloadError),
    #[error("the bill is not usable: {0}")]
    Bill(#[from] BillError),
    /// Before ten in the morning of the next day.
    #[error("WeChat has the bill of {day} from {ready_at} on")]
    TooEarly { day: String, ready_at: String },
    /// Until noon "no bill" may mean that it is not made yet.
    #[error("WeChat has no bill of {day} yet: from noon on that means that the day is empty")]
    NotYet { day: String },
    #[error("WeChat has no bill of {day}, though our books have payments or refunds of that day")]
    NoBill { day: String },
    #[error("merchant {0} is not configured in this process")]
    UnknownMerchant(String),
    #[error("merchant {0} has no app to ask through")]
    NoApp(String),
    /// Why the bill of an account cannot be asked for.
    #[error("the bill of an account needs the merchant's certificate: {0}")]
    Certificate(String),
    #[error("{0} is not a day")]
    Day(String),
    #[error("no room in the temporary folder ({0}): nothing was changed")]
    DiskFull(String),
    #[error("the temporary folder cannot be used: {0}")]
    Files(String),
    #[error("sums that do not fit in 64 bits")]
    TooLarge,
    #[error("the bill has more than {0} currencies")]
    TooManyCurrencies(usize),
    #[error(transparent)]
    Store(#[from] DbError),
    /// Another process took the lease over: it runs the day.
    #[error("another process took over")]
    Overtaken,
    #[error("the comparison ended unexpectedly")]
    Ended,
}

impl RunError {
    /// Whether the bill is not due yet.
    pub const fn is_early(&self) -> bool {
        matches!(self, RunError::TooEarly { .. } | RunError::NotYet { .. })
    }

    /// Of a folder, which its words name.
    pub fn of_folder(folder: &Path, e: &io::Error) -> RunError {
        RunError::of_files(e, format!("{}: {e}", folder.display()))
    }

    fn of_files(e: &io::Error, words: String) -> RunError {
        match e.kind() {
            // The largest file that is allowed is the end of the room, too.
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => RunError::DiskFull(words),
            _ => RunError::Files(words),
        }
    }
}

impl From<io::Error> for RunError {
    fn from(e: io::Error) -> RunError {
        RunError::of_files(&e, e.to_string())
    }
}

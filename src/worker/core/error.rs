//! Why a handler could not finish, and what that means for its message.
//!
//! A database outage must not count against a message's attempt limit. A locked row is none: the message is put off
//! alone. Anything else is an attempt that failed.

use std::time::Duration;

use crate::batcher::GroupError;
use crate::bus::Verdict;
use crate::store::DbError;

/// How long a message waits after an attempt that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a handler could not finish. The texts are without secrets and personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandlerError {
    /// The database does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// Others have locked a row of it, or a statement on it took too long: the database is there.
    #[error("{0}")]
    Locked(String),
    /// Anything else; more of the same ends as a dead letter.
    #[error("{0}")]
    Failed(String),
}

impl From<&DbError> for HandlerError {
    fn from(e: &DbError) -> HandlerError {
        match e {
            DbError::Unavailable(_) if e.is_of_one_statement() => HandlerError::Locked(e.to_string()),
            DbError::Unavailable(_) => HandlerError::Unavailable(e.to_string()),
            DbError::Exists(_) | DbError::Defect(_) => HandlerError::Failed(e.to_string()),
        }
    }
}

impl From<DbError> for HandlerError {
    fn from(e: DbError) -> HandlerError {
        HandlerError::from(&e)
    }
}

impl From<GroupError> for HandlerError {
    fn from(e: GroupError) -> HandlerError {
        match e {
            // The process ends; the message goes back to the bus.
            GroupError::Closed => HandlerError::Unavailable(e.to_string()),
            GroupError::Lost => HandlerError::Failed(e.to_string()),
        }
    }
}

/// What becomes of the message.
pub fn failed(trouble: impl Into<HandlerError>) -> Verdict {
    match trouble.into() {
        HandlerError::Unavailable(why) => Verdict::Unavailable { why },
        HandlerError::Locked(why) => Verdict::Locked { why },
        HandlerError::Failed(why) => Verdict::Retry { after: AGAIN, why },
    }
}

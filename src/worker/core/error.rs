//! Why a handler could not finish, and what that means for its message.
//!
//! A database outage must not count against a message's attempt limit.
//! Anything else is an attempt that failed.

use std::time::Duration;

use crate::batcher::GroupError;
use crate::bus::Verdict;
use crate::store::DbError;

/// How long a message waits after an attempt that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a handler could not finish. The texts are without secrets and personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The database does not answer.
    #[error("{0}")]
    Away(String),
    /// Anything else; more of the same ends as a dead letter.
    #[error("{0}")]
    Other(String),
}

impl From<&DbError> for Trouble {
    fn from(e: &DbError) -> Trouble {
        match e {
            DbError::Unavailable(_) => Trouble::Away(e.to_string()),
            DbError::Exists(_) | DbError::Defect(_) => Trouble::Other(e.to_string()),
        }
    }
}

impl From<DbError> for Trouble {
    fn from(e: DbError) -> Trouble {
        Trouble::from(&e)
    }
}

impl From<GroupError> for Trouble {
    fn from(e: GroupError) -> Trouble {
        match e {
            // The process ends; the message goes back to the bus.
            GroupError::Closed => Trouble::Away(e.to_string()),
            GroupError::Lost => Trouble::Other(e.to_string()),
        }
    }
}

/// What becomes of the message.
pub fn failed(trouble: impl Into<Trouble>) -> Verdict {
    match trouble.into() {
        Trouble::Away(why) => Verdict::Unavailable { why },
        Trouble::Other(why) => Verdict::Retry { after: AGAIN, why },
    }
}

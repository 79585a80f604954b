//! How a run of a job ended.

use crate::bus::{LagError, PublishError};
use crate::event::envelope::EnvelopeError;
use crate::store::DbError;

/// Why a run failed; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The database did not do what it was asked.
    #[error(transparent)]
    Store(#[from] DbError),
    /// The bus did not take a message.
    #[error(transparent)]
    Bus(#[from] PublishError),
    /// The bus did not say what waits on it.
    #[error(transparent)]
    Lag(#[from] LagError),
    /// A message could not be written.
    #[error(transparent)]
    Event(#[from] EnvelopeError),
    /// Another process took the lease over; what this one brought was thrown away.
    #[error("another process took over")]
    Overtaken,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Done {
    /// How much, in whatever the job counts; 0 is an idle run.
    pub count: u64,
    /// What people should know of it.
    pub detail: Option<String>,
}

impl From<u64> for Done {
    fn from(count: u64) -> Done {
        Done { count, detail: None }
    }
}

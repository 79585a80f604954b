//! How a run of a job ended.

use crate::bus::{LagError, PublishError};
use crate::event::envelope::EnvelopeError;
use crate::store::{DbError, JobOutcome};

/// Why a run failed; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A database operation failed.
    #[error(transparent)]
    Store(#[from] DbError),
    /// The bus did not store a message.
    #[error(transparent)]
    Bus(#[from] PublishError),
    /// The bus did not report its lag.
    #[error(transparent)]
    Lag(#[from] LagError),
    /// A message could not be encoded.
    #[error(transparent)]
    Event(#[from] EnvelopeError),
    /// Parts of the run failed, each for its own reason; the others are done.
    #[error("{}", .0.join("; "))]
    InPart(Vec<String>),
    /// Another process took the lease over (fencing); this run's result was discarded.
    #[error("another process took over")]
    Overtaken,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Done {
    /// How many items, in the job's own unit; 0 is an idle run.
    pub count: u64,
    /// A sentence for the report.
    pub detail: Option<String>,
}

impl From<u64> for Done {
    fn from(count: u64) -> Done {
        Done { count, detail: None }
    }
}

/// What the report says of a run that came to its end.
pub(super) fn report_of(job: &'static str, ended: Result<Done, JobError>) -> (JobOutcome, u64, Option<String>) {
    match ended {
        Ok(done) if done.count == 0 => (JobOutcome::Idle, 0, done.detail),
        Ok(done) => {
            tracing::info!(job, done = done.count, "ran");
            (JobOutcome::Done, done.count, done.detail)
        }
        Err(e) => {
            tracing::warn!(job, error = %e, "failed; the next run tries again");
            (JobOutcome::Failed, 0, Some(e.to_string()))
        }
    }
}

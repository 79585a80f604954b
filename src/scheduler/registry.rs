//! What is done regularly, in one table: name, rhythm, deadline, and the function that does it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::jobs;
use super::schedule::When;
use super::token_refresh::{CALL_LIMIT, Tokens};
use crate::bus::{Bus, LagError, PublishError};
use crate::clock::Clock;
use crate::config::Config;
use crate::event::envelope::EnvelopeError;
use crate::store::{DbError, Lease, Store};

/// What a run has at hand.
#[derive(Clone)]
pub(super) struct Context {
    pub config: Arc<Config>,
    pub store: Store,
    pub bus: Bus,
    pub clock: Clock,
    /// None where the browser side is not open or no app has a secret.
    pub tokens: Option<Arc<Tokens>>,
    /// Under which the run runs.
    pub lease: Lease,
    pub jobs: &'static [Job],
}

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
    /// Another process took the lease over; this one's result was discarded.
    #[error("another process took over")]
    Overtaken,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Done {
    /// How much, in whatever the job counts; 0 is an idle run.
    pub count: u64,
    /// Details for operators.
    pub detail: Option<String>,
}

impl From<u64> for Done {
    fn from(count: u64) -> Done {
        Done { count, detail: None }
    }
}

pub(super) struct Job {
    pub name: &'static str,
    pub when: When,
    /// A run that takes longer is ended; the next one goes on where it stopped.
    pub deadline: Duration,
    pub run: fn(Context) -> BoxFuture<'static, Result<Done, JobError>>,
}

/// Two calls, one after the other, and what is written of them.
const TOKENS_DEADLINE: Duration = Duration::from_secs(45);
const _: () = assert!(2 * CALL_LIMIT.as_secs() < TOKENS_DEADLINE.as_secs());

pub(super) const JOBS: &[Job] = &[
    Job {
        name: "pending_queries",
        when: When::every_seconds(1),
        deadline: Duration::from_secs(60),
        run: |ctx| Box::pin(jobs::pending_queries(ctx)),
    },
    Job {
        name: "pending_refunds",
        when: When::every_seconds(1),
        deadline: Duration::from_secs(60),
        run: |ctx| Box::pin(jobs::pending_refunds(ctx)),
    },
    Job {
        name: "far_times",
        when: When::every_seconds(30),
        deadline: Duration::from_secs(30),
        run: |ctx| Box::pin(jobs::far_times(ctx)),
    },
    Job {
        name: "deferred_messages",
        when: When::every_seconds(1),
        deadline: Duration::from_secs(60),
        run: |ctx| Box::pin(jobs::deferred_messages(ctx)),
    },
    Job {
        name: "orphans",
        when: When::every_seconds(10),
        deadline: Duration::from_secs(60),
        run: |ctx| Box::pin(jobs::orphans(ctx)),
    },
    Job {
        name: "platform_tokens",
        when: When::every_seconds(1),
        deadline: TOKENS_DEADLINE,
        run: |ctx| Box::pin(jobs::platform_tokens(ctx)),
    },
    Job {
        name: "gauges",
        when: When::every_seconds(10),
        deadline: Duration::from_secs(30),
        run: |ctx| Box::pin(jobs::gauges(ctx)),
    },
    Job {
        name: "retention",
        when: When::hourly(7),
        deadline: Duration::from_secs(600),
        run: |ctx| Box::pin(jobs::retention(ctx)),
    },
];

//! A job of the scheduler, and what each run of it can use.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::outcome::{Done, JobError};
use super::schedule::When;
use super::token_refresh::Tokens;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{Lease, Store};

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
    /// Every job.
    pub jobs: &'static [Job],
}

/// A job.
pub(super) struct Job {
    pub name: &'static str,
    pub when: When,
    /// A run that takes longer is ended; the next one goes on where it stopped.
    pub deadline: Duration,
    pub run: fn(Context) -> BoxFuture<'static, Result<Done, JobError>>,
}

//! A job of the scheduler, and the context of its runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::outcome::{Done, JobError};
use super::schedule::When;
use super::shown::Shown;
use super::token_refresh::Tokens;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{Lease, Store};
use crate::wechat::transport::Client;

/// The context of a run.
#[derive(Clone)]
pub(super) struct Context {
    pub config: Arc<Config>,
    pub store: Store,
    pub bus: Bus,
    pub clock: Clock,
    /// The way to WeChat's pay API.
    pub wechat: Client,
    /// None if the browser side is not configured or no app has a secret.
    pub tokens: Option<Arc<Tokens>>,
    /// The gauges of the lease's holder.
    pub shown: Arc<Shown>,
    /// The lease that the run holds.
    pub lease: Lease,
    pub jobs: &'static [Job],
    /// Cancelled when the process stops: a run that takes long ends then, and the next one goes on.
    pub cancel: CancellationToken,
}

pub(super) struct Job {
    pub name: &'static str,
    pub when: When,
    /// A run that takes longer is stopped; the next one continues its work.
    pub deadline: Duration,
    pub run: fn(Context) -> BoxFuture<'static, Result<Done, JobError>>,
}

/// A job that is running; over when this is dropped, however the run ends.
pub(super) struct Running<'a>(&'a AtomicBool);

impl<'a> Running<'a> {
    pub fn begin(busy: &'a AtomicBool) -> Option<Running<'a>> {
        // Not `then_some`: a value made in vain would be dropped and end the run that is going on.
        (!busy.swap(true, Ordering::SeqCst)).then(|| Running(busy))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

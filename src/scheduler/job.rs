//! A job of the scheduler, and the context of its runs.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::outcome::{Done, JobError};
use super::schedule::When;
use super::shown::Shown;
use super::token_refresh::Tokens;
use crate::bus::{Bus, Message, PublishError};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::retry::{Policy, retry_while};
use crate::store::{Lease, Store};
use crate::wechat::transport::Client;

/// How long a message of a run is published again.
const PUBLISHES: Policy = Policy {
    initial: Duration::from_millis(100),
    max: Duration::from_secs(1),
    tries: 30,
    deadline: Duration::from_secs(10),
};

/// What a check works with: it reads, and holds no lease.
#[derive(Clone)]
pub(super) struct Reading {
    pub config: Arc<Config>,
    pub store: Store,
    pub bus: Bus,
    pub clock: Clock,
    /// How far ahead of the clock a check sees what is due.
    pub ahead: Duration,
    /// None if the browser side is not configured or no app has a secret.
    pub tokens: Option<Arc<Tokens>>,
    /// The job's gauges in this process.
    pub shown: Arc<Shown>,
}

impl Reading {
    /// The time up to which a check asks what is due.
    pub fn now(&self) -> Timestamp {
        self.clock.now().after(self.ahead)
    }
}

/// The context of a run.
#[derive(Clone)]
pub(super) struct Context {
    pub reading: Reading,
    /// The way to WeChat's pay API.
    pub wechat: Client,
    /// The lease that the run holds.
    pub lease: Lease,
    pub jobs: &'static [Job],
    /// Cancelled when the process stops: a run that takes long ends then, and the next one goes on.
    pub cancel: CancellationToken,
}

impl Context {
    /// Publishes what is due, whose due time was put off before. What fails is published again under the same id: it
    /// would come by as much later.
    pub async fn publish_due(&self, message: Message) -> Result<(), PublishError> {
        let publish = || self.reading.bus.publish(message.clone());
        retry_while(PUBLISHES, publish, |published| published.is_err() && !self.cancel.is_cancelled()).await
    }
}

impl Deref for Context {
    type Target = Reading;

    fn deref(&self) -> &Reading {
        &self.reading
    }
}

/// Whether there is something to do.
pub(super) type Check = fn(Reading) -> BoxFuture<'static, Result<bool, JobError>>;

pub(super) struct Job {
    pub name: &'static str,
    pub when: When,
    /// Is made at each time of the rhythm, in every process, and writes nothing; only what it finds is worth the lease,
    /// a run and its report. Without one each run finds by itself what there is to do.
    pub check: Option<Check>,
    /// Whether it rests while nothing is committed and nothing becomes due: what it finds then depends on
    /// [`Reading::now`], the configuration and the database alone, and what it finds at a time it finds later, too.
    pub rests: bool,
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

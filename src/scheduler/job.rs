//! A job of the scheduler, and the context of its runs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::outcome::{Done, JobError};
use super::schedule::When;
use super::token_refresh::Tokens;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{Lease, Store};
use crate::wechat::transport::Client;

pub(super) type SeenReasons = Arc<Mutex<BTreeSet<String>>>;

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
    /// Reasons of dead letters whose gauge this process has set.
    pub seen_reasons: SeenReasons,
    /// The lease that the run holds.
    pub lease: Lease,
    pub jobs: &'static [Job],
}

pub(super) struct Job {
    pub name: &'static str,
    pub when: When,
    /// A run that takes longer is stopped; the next one continues its work.
    pub deadline: Duration,
    pub run: fn(Context) -> BoxFuture<'static, Result<Done, JobError>>,
}

//! When the jobs run.
//!
//! `tokio-cron-scheduler` says when a job may have something to do; the due time in the database says whether the run
//! of a time was made. A job that is still running when its time comes again is left alone; one whose time passed while
//! no process ran, or whose runner crashed, is found by the sweep and run then. A run that had nothing to do may leave
//! the due time of before: to other processes the job is overdue meanwhile, and the lease keeps them from running it.

use std::sync::Arc;

use futures_util::future::join_all;
use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval};
use tokio_cron_scheduler::{Job as CronJob, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::registry::JOBS;
use super::runner::{Runner, Shared};
use super::schedule::When;
use super::token_refresh::Tokens;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::ConfigHandle;
use crate::sealed_box::CannotSeal;
use crate::store::{DbError, Store, job_waits};
use crate::telemetry;
use crate::wechat::platform::PlatformClient;
use crate::wechat::transport::Client;

/// How often a job with a check runs at least: operators see by its report that it can.
pub const AT_LEAST: When = When::every_minutes(5);

/// What the scheduler works with.
pub struct Parts {
    pub config: ConfigHandle,
    pub store: Store,
    pub bus: Bus,
    /// The way to WeChat's pay API.
    pub wechat: Client,
    /// The way to WeChat's platform.
    pub platform: PlatformClient,
    /// The time, as the database has it: a host whose own clock is wrong must not stop the jobs of all the others.
    pub clock: Clock,
    /// How often each job runs though a check finds nothing to do. One with a rhythm as rare is not checked.
    pub at_least: When,
}

/// Why the scheduler does not run.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The cron could not be set up.
    #[error(transparent)]
    Cron(#[from] JobSchedulerError),
    /// No key could be derived from `web.session_key`.
    #[error("the key of stored tokens: {0}")]
    Seal(#[from] CannotSeal),
}

/// Runs until cancelled; jobs that run then finish first. Each lease is released as soon as its job has ended, so
/// that another process goes on at once.
pub async fn run(parts: Parts, holder: String, cancel: CancellationToken) -> Result<(), SchedulerError> {
    let Parts { config, store, bus, wechat, platform, clock, at_least } = parts;
    // A key that cannot be derived stops the start; it stays the same until the next one.
    Tokens::new(&config.snapshot(), platform.clone())?;
    let shared = Arc::new(Shared { config, store, bus, clock, wechat, platform, holder });
    let runners: Vec<Arc<Runner>> =
        JOBS.iter().map(|job| Arc::new(Runner::new((job, at_least), Arc::clone(&shared), cancel.clone()))).collect();
    let running = TaskTracker::new();
    let mut cron = JobScheduler::new().await?;
    for runner in &runners {
        let (runner, running) = (Arc::clone(runner), running.clone());
        let due = CronJob::new_async(runner.job.when.cron(), move |_, _| {
            let runner = Arc::clone(&runner);
            Box::pin(running.track_future(async move { runner.run(runner.check).await }))
        })?;
        cron.add(due).await?;
    }
    cron.start().await?;
    let sweep = running.spawn(sweep(shared, runners.clone(), running.clone(), cancel.clone()));
    cancel.cancelled().await;
    cron.shutdown().await?;
    join_all(runners.iter().map(|runner| runner.rest())).await;
    running.close();
    running.wait().await;
    // A sweep that panicked is a defect that the next start would hide.
    if let Err(e) = sweep.await {
        tracing::error!(error = %e, "the sweep for missed runs did not end well");
    }
    Ok(())
}

/// Makes the jobs known and puts right what a wrong clock wrote, then starts what is due and was not run, again and
/// again.
async fn sweep(shared: Arc<Shared>, runners: Vec<Arc<Runner>>, running: TaskTracker, cancel: CancellationToken) {
    let mut ticks = interval(shared.config.snapshot().store.lease);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while cancel.run_until_cancelled(ticks.tick()).await.is_some() {
        match due(&shared, &runners).await {
            Ok(due) => {
                for runner in due {
                    running.spawn(async move { runner.run(None).await });
                }
            }
            Err(e) => tracing::warn!(error = %e, "missed runs cannot be checked"),
        }
    }
}

/// What is due and was not run. Also reports clock skew and token age.
async fn due(shared: &Shared, runners: &[Arc<Runner>]) -> Result<Vec<Arc<Runner>>, DbError> {
    let ahead_s = shared.clock.host_ahead_ms(shared.store.db().now().await?) / 1000;
    gauge!(telemetry::CLOCK_AHEAD_SECONDS).set(ahead_s as f64);
    let now = shared.clock.now();
    if let Some(tokens) = shared.tokens(&shared.config.snapshot()) {
        tokens.publish_ages(&shared.store, now).await?;
    }
    let mut due = Vec::new();
    let registered = shared.store.registered_jobs().await?;
    for runner in runners {
        let (job, next) = (runner.job, runner.due.next_after(now));
        let deadline_ms = i64::try_from(job.deadline.as_millis()).unwrap_or(i64::MAX);
        let known = registered.get(job.name).filter(|known| known.is_right(&job.when.cron(), deadline_ms, next));
        let stored = match known {
            Some(known) => Some(known.next_due),
            None => {
                shared.store.register_job(job.name, &job.when.cron(), deadline_ms, now, next).await?;
                shared.store.job_due_at(job.name).await?
            }
        };
        if stored.is_none_or(|stored| !job_waits(stored, now, next)) {
            runner.heed(stored);
            due.push(Arc::clone(runner));
        }
    }
    Ok(due)
}

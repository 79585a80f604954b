//! Runs the jobs on their cron, in one process at a time.
//!
//! `tokio-cron-scheduler` says when; the lease says who. A job that is still running when its time comes again is left
//! alone. What a job does is safe to do twice, so a leader that slept through its lease harms nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio_cron_scheduler::{Job as CronJob, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::jobs::{Context, JOBS, Job};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::store::Store;
use crate::telemetry;

/// Each job has a lease of its own: one that hangs in one process is taken over by another.
const LEASE_TTL: Duration = Duration::from_secs(15);
/// A run that takes longer is ended; the next one goes on where it stopped.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs until cancelled; jobs that run then finish first.
pub async fn run(
    store: Store,
    bus: Bus,
    clock: Clock,
    holder: String,
    cancel: CancellationToken,
) -> Result<(), JobSchedulerError> {
    let ctx = Context { store, bus, clock };
    let holder: Arc<str> = holder.into();
    let running = TaskTracker::new();
    let mut cron = JobScheduler::new().await?;
    for job in JOBS {
        let (ctx, holder, running, busy) =
            (ctx.clone(), Arc::clone(&holder), running.clone(), Arc::new(AtomicBool::new(false)));
        let due = CronJob::new_async(job.cron, move |_, _| {
            let (ctx, holder, busy) = (ctx.clone(), Arc::clone(&holder), Arc::clone(&busy));
            Box::pin(running.track_future(async move {
                let Some(_running) = Running::begin(busy) else { return };
                run_one(job, ctx, &holder).await;
            }))
        })?;
        cron.add(due).await?;
    }
    cron.start().await?;
    cancel.cancelled().await;
    cron.shutdown().await?;
    running.close();
    running.wait().await;
    Ok(())
}

/// A job that is running; over when this is dropped, however the run ends.
struct Running(Arc<AtomicBool>);

impl Running {
    fn begin(busy: Arc<AtomicBool>) -> Option<Running> {
        (!busy.swap(true, Ordering::SeqCst)).then_some(Running(busy))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

async fn run_one(job: &Job, ctx: Context, holder: &str) {
    match ctx.store.lease(job.name, holder, LEASE_TTL).await {
        Ok(Some(lease)) => tracing::trace!(job = job.name, lease.term, "runs"),
        Ok(None) => return,
        Err(e) => {
            tracing::warn!(job = job.name, error = %e, "the lease cannot be had");
            return;
        }
    }
    let started = std::time::Instant::now();
    let run = std::panic::AssertUnwindSafe((job.run)(ctx)).catch_unwind();
    let outcome = match tokio::time::timeout(DEADLINE, run).await {
        Err(_) => {
            tracing::error!(job = job.name, deadline_s = DEADLINE.as_secs(), "did not end in time");
            "late"
        }
        Ok(Err(_)) => {
            tracing::error!(job = job.name, "panicked");
            "panic"
        }
        Ok(Ok(Ok(0))) => "idle",
        Ok(Ok(Ok(done))) => {
            tracing::info!(job = job.name, done, "ran");
            "done"
        }
        Ok(Ok(Err(e))) => {
            tracing::warn!(job = job.name, error = %e, "failed; the next run tries again");
            "failed"
        }
    };
    metrics::histogram!(telemetry::JOB_SECONDS, "job" => job.name, "outcome" => outcome).record(started.elapsed());
}

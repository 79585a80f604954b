//! Runs the jobs on their cron, in one process at a time.
//!
//! `tokio-cron-scheduler` says when; the lease says who. A job that is still running when its time comes again is left
//! alone. What a job does is safe to do twice, so a leader that slept through its lease harms nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_cron_scheduler::{Job as CronJob, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::jobs::{Context, JOBS, Job};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::store::Store;
use crate::telemetry;

const LEASE: &str = "scheduler";
const LEASE_TTL: Duration = Duration::from_secs(15);

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
                if busy.swap(true, Ordering::SeqCst) {
                    return;
                }
                run_one(job, ctx, &holder).await;
                busy.store(false, Ordering::SeqCst);
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

async fn run_one(job: &Job, ctx: Context, holder: &str) {
    match ctx.store.lease(LEASE, holder, LEASE_TTL).await {
        Ok(Some(lease)) => tracing::trace!(job = job.name, lease.term, "runs"),
        Ok(None) => return,
        Err(e) => {
            tracing::warn!(job = job.name, error = %e, "the lease cannot be had");
            return;
        }
    }
    let started = std::time::Instant::now();
    let outcome = match (job.run)(ctx).await {
        Ok(0) => "idle",
        Ok(done) => {
            tracing::info!(job = job.name, done, "ran");
            "done"
        }
        Err(e) => {
            tracing::warn!(job = job.name, error = %e, "failed; the next run tries again");
            "failed"
        }
    };
    metrics::histogram!(telemetry::JOB_SECONDS, "job" => job.name, "outcome" => outcome).record(started.elapsed());
}

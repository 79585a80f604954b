//! Retention: deletes what is of no use any more, and what has been kept for its configured period. Nothing of an
//! order, its evidence or its money is among it.

use std::fmt::Write as _;
use std::time::Duration;

use metrics::counter;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::config;
use crate::scheduler::job::{Context, Job};
use crate::scheduler::outcome::{Done, JobError};
use crate::store::{FORGOTTEN_AFTER, JobOutcome, Kept, Store};
use crate::telemetry;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Runs that found nothing to do.
const IDLE_REPORTS_KEPT: Duration = HOUR;
/// Runs that did something, of jobs that run so often that their rows would fill the disk.
const FREQUENT_REPORTS_KEPT: Duration = DAY;
/// All other runs: failures, and the rare jobs.
const REPORTS_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
/// Longer than a login's state is valid: the row is what makes a state single-use.
const LOGIN_CODES_KEPT: Duration = HOUR;
/// Longer than WeChat lets any order be paid (seven days).
const WALLET_ORDERS_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
/// Longer than any session lasts (`web.session_hours`, a year).
const ENDED_SESSIONS_KEPT: Duration = Duration::from_secs(366 * 24 * 3600);
/// Longer than any message is tried. Those of dead letters stay with them.
const FAILED_ATTEMPTS_KEPT: Duration = DAY;
/// Rows deleted by one statement: others write between two.
const BATCH: u64 = 2000;

/// For how long one run removes what has passed its period: half of its deadline.
const RUN: Duration = Duration::from_secs(300);

pub async fn retention(ctx: Context) -> Result<Done, JobError> {
    let (store, now) = (&ctx.store, ctx.clock.now());
    let reports = reports(store, ctx.jobs, now).await?;
    let codes = drained(|| store.purge_login_codes(before(now, LOGIN_CODES_KEPT), BATCH)).await?;
    let offers = drained(|| store.purge_wallet_orders(before(now, WALLET_ORDERS_KEPT), BATCH)).await?;
    let mut count = reports + codes + offers;
    let mut detail = format!("deleted {reports} reports, {codes} login codes, {offers} wallet offers");
    console(store, now).await?;
    drained(|| store.purge_ended_sessions(before(now, ENDED_SESSIONS_KEPT), BATCH)).await?;
    store.date_dead_letters(now).await?;
    drained(|| store.purge_failed_attempts(before(now, FAILED_ATTEMPTS_KEPT), BATCH)).await?;
    let replays = before(now, ctx.config.retention.dead_letters);
    drained(|| store.purge_replays(replays, BATCH)).await?;
    let begun = Instant::now();
    for &kept in Kept::ALL {
        // What is left is removed by the next run; a run that is late would count as failed.
        if begun.elapsed() > RUN {
            break;
        }
        let removed = expired(store, begun, kept, before(now, period(&ctx.config.retention, kept))).await?;
        if removed > 0 {
            count += removed;
            let _ = write!(detail, ", {removed} {}", kept.as_str());
        }
    }
    // After the rows that refer to them.
    drained(|| store.purge_refused_bodies(before(now, HOUR), BATCH)).await?;
    Ok(Done { count, detail: (count > 0).then_some(detail) })
}

/// What of the console has ended by itself.
async fn console(store: &Store, now: Timestamp) -> Result<(), JobError> {
    drained(|| store.purge_console_sessions(now, BATCH)).await?;
    drained(|| store.purge_console_invitations(now, BATCH)).await?;
    drained(|| store.purge_console_attempts(before(now, FORGOTTEN_AFTER), BATCH)).await?;
    Ok(())
}

fn period(periods: &config::Retention, kept: Kept) -> Duration {
    match kept {
        Kept::Notifications | Kept::Calls | Kept::Quarantine | Kept::RefusedNotifications => periods.notifications,
        Kept::Outbox => periods.outbox,
        Kept::DeadLetters => periods.dead_letters,
        Kept::Audit => periods.audit,
        Kept::IdempotencyKeys | Kept::RefundTargets => periods.idempotency,
        Kept::Approvals => periods.approvals,
        Kept::Users => periods.users,
        Kept::WebhookAttempts | Kept::WebhookDeliveries => periods.webhooks,
    }
}

/// Each step is a write of its own, between which the payments' writes take their place.
async fn expired(store: &Store, begun: Instant, kept: Kept, before: Timestamp) -> Result<u64, JobError> {
    let (mut count, mut from) = (0, None);
    loop {
        let step = store.remove_expired(kept, from, before).await?;
        if step.removed > 0 {
            counter!(telemetry::RETENTION_REMOVED_TOTAL, "kept" => kept.as_str()).increment(step.removed);
        }
        count += step.removed;
        match step.next {
            Some(next) if begun.elapsed() < RUN => from = Some(next),
            Some(_) | None => return Ok(count),
        }
    }
}

async fn reports(store: &Store, jobs: &[Job], now: Timestamp) -> Result<u64, JobError> {
    let idle = Some(JobOutcome::Idle);
    let mut count = drained(|| store.purge_job_reports(idle, None, before(now, IDLE_REPORTS_KEPT), BATCH)).await?;
    let (done, kept) = (Some(JobOutcome::Done), before(now, FREQUENT_REPORTS_KEPT));
    for job in jobs.iter().filter(|job| job.when.period() < HOUR) {
        count += drained(|| store.purge_job_reports(done, Some(job.name), kept, BATCH)).await?;
    }
    count += drained(|| store.purge_job_reports(None, None, before(now, REPORTS_KEPT), BATCH)).await?;
    Ok(count)
}

/// Deletes batch by batch until one is not full.
async fn drained<F>(mut batch: impl FnMut() -> F) -> Result<u64, JobError>
where
    F: Future<Output = Result<u64, crate::store::DbError>>,
{
    let mut count = 0;
    loop {
        let deleted = batch().await?;
        count += deleted;
        if deleted < BATCH {
            return Ok(count);
        }
    }
}

fn before(now: Timestamp, kept: Duration) -> Timestamp {
    Timestamp::from_ms(now.as_ms() - i64::try_from(kept.as_millis()).unwrap_or(i64::MAX))
}

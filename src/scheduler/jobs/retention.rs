//! Retention: deletes what is of no use any more. Nothing of an order, its evidence or its money is among it.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::scheduler::job::{Context, Job};
use crate::scheduler::outcome::{Done, JobError};
use crate::store::{JobOutcome, Store};

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
/// Rows deleted by one statement: others write between two.
const BATCH: u64 = 2000;

pub async fn retention(ctx: Context) -> Result<Done, JobError> {
    let (store, now) = (&ctx.store, ctx.clock.now());
    let reports = reports(store, ctx.jobs, now).await?;
    let codes = drained(|| store.purge_login_codes(before(now, LOGIN_CODES_KEPT), BATCH)).await?;
    let offers = drained(|| store.purge_wallet_orders(before(now, WALLET_ORDERS_KEPT), BATCH)).await?;
    let count = reports + codes + offers;
    let detail = format!("deleted {reports} reports, {codes} login codes, {offers} wallet offers");
    Ok(Done { count, detail: (count > 0).then_some(detail) })
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

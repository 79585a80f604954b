//! Keeps every merchant's balances at the end of the Beijing day, so that the books need not be summed up from the
//! beginning, and compares the books of the days that are over.

use std::time::Duration;

use tokio::time::Instant;

use crate::books::{all_merchants, run_due};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::scheduler::job::Context;
use crate::scheduler::outcome::{Done, JobError};
use crate::telemetry;

/// Longer than any transaction that was begun on the day before.
const OVER: Duration = Duration::from_secs(600);
const DAY_MS: i64 = 24 * 3600 * 1000;
/// For how long a run compares days: half of its deadline. The next run goes on.
const COMPARES: Duration = Duration::from_secs(150);

/// Gives way to a shutdown: only what a day came to is written, and the next process compares the day from its
/// beginning.
pub async fn books(ctx: Context) -> Result<Done, JobError> {
    let cancel = ctx.cancel.clone();
    let stopped = || Ok(Done { count: 0, detail: Some("stopped with its process".into()) });
    cancel.run_until_cancelled(close_and_compare(ctx)).await.unwrap_or_else(stopped)
}

async fn close_and_compare(ctx: Context) -> Result<Done, JobError> {
    let now = ctx.clock.now();
    let over = now.before(OVER);
    let end = Timestamp::from_ms(over.next_beijing_midnight().as_ms() - DAY_MS);
    let mut failed = Vec::new();
    let closed = ctx.store.close_day(end).await.unwrap_or_else(|e| {
        failed.push(format!("closing the day: {e}"));
        0
    });
    let configured: Vec<MerchantKey> = ctx.config.merchants.iter().map(|merchant| merchant.key.clone()).collect();
    let ran = run_due(&ctx.store, &configured, now, Instant::now() + COMPARES).await?;
    let books = ctx.store.books();
    for merchant in all_merchants(&books, &configured).await? {
        let open = books.open_findings(&merchant).await?;
        ctx.shown.set(telemetry::BOOK_FINDINGS, &[("merchant", merchant.as_str())], open as f64);
    }
    ctx.shown.measured();
    // Only now: what fails of one merchant keeps no other from being closed and compared.
    failed.extend(ran.failed);
    if !failed.is_empty() {
        return Err(JobError::InPart(failed));
    }
    let mut said = Vec::new();
    if closed > 0 {
        said.push(format!("closed the day before {end} for {closed} merchants"));
    }
    if ran.days > 0 {
        let behind = if ran.is_behind { ", and others are left" } else { "" };
        said.push(format!("compared {} rows of {} days: {} findings{behind}", ran.rows, ran.days, ran.findings));
    }
    Ok(Done { count: closed + ran.days, detail: (!said.is_empty()).then(|| said.join("; ")) })
}

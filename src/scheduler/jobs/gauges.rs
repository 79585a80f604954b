//! Gauges that are asked for: queue lag, fill of streams, waiting events, dead letters, open payments and refunds.

use std::collections::BTreeMap;

use super::merchant_faults;
use crate::ops::reason::ReasonClass;
use crate::reconcile::{newest_missed, oldest};
use crate::reconciliation::LineClass;
use crate::refund::RefundState;
use crate::scheduler::job::{Context, Reading};
use crate::scheduler::outcome::{Done, JobError};
use crate::store::OPEN_CLASSES;
use crate::telemetry;

/// A run leaves a report that the gauges can be measured.
pub async fn gauges(ctx: Context) -> Result<Done, JobError> {
    measure(ctx.reading).await?;
    Ok(Done::default())
}

/// Measures the gauges that no event of the process changes: in every process, so that one that measures no more hides
/// nothing. There is never anything left to do.
pub async fn measure(on: Reading) -> Result<bool, JobError> {
    on.shown.set(telemetry::OUTBOX_PENDING, &[], on.store.outbox_pending().await? as f64);
    // Every class, so that a gauge without dead letters is 0; and what another version parks.
    let parked = on.store.dead_letters_by_reason().await?;
    let is_parked = |class: &&ReasonClass| parked.iter().any(|(reason, _)| reason == class.as_str());
    for class in ReasonClass::ALL.iter().filter(|class| !is_parked(class)) {
        on.shown.set(telemetry::DEAD_LETTERS, &[("reason", class.as_str())], 0.0);
    }
    for (reason, count) in &parked {
        on.shown.set(telemetry::DEAD_LETTERS, &[("reason", reason)], *count as f64);
    }
    payments(&on).await?;
    bills(&on).await?;
    let open = on.store.open_refunds().await?;
    for state in RefundState::ALL.iter().filter(|state| !state.is_final()) {
        let count = open.iter().find(|(name, _)| name == state.as_str()).map_or(0, |(_, n)| *n);
        on.shown.set(telemetry::REFUNDS_OPEN, &[("state", state.as_str())], count as f64);
    }
    webhooks(&on).await?;
    merchant_faults::show(&on).await?;
    // The last: what the database says is right also while the queue is away.
    for lag in on.bus.lag().await? {
        let consumer = [("consumer", lag.consumer.as_str())];
        on.shown.set(telemetry::BUS_LAG_MESSAGES, &consumer, lag.pending as f64);
        let age = lag.oldest_age.unwrap_or_default();
        on.shown.set(telemetry::BUS_OLDEST_UNACKED_SECONDS, &consumer, age.as_secs_f64());
    }
    for fill in on.bus.fill().await? {
        let stream = [("stream", fill.stream.as_str())];
        on.shown.set(telemetry::BUS_STREAM_BYTES, &stream, fill.bytes as f64);
        on.shown.set(telemetry::BUS_STREAM_MAX_BYTES, &stream, fill.max_bytes as f64);
    }
    on.shown.measured();
    Ok(false)
}

/// Every class and merchant, so that a gauge without differences is 0.
async fn bills(on: &Reading) -> Result<(), JobError> {
    let open = on.store.open_mismatches().await?;
    for class in LineClass::ALL.iter().filter(|class| class.is_difference()) {
        let count = open.iter().find(|(name, _)| name == class.as_str()).map_or(0, |(_, n)| *n);
        on.shown.set(telemetry::RECONCILE_MISMATCHES, &[("class", class.as_str())], count as f64);
    }
    // Of an older day WeChat has no bill any more: no wait brings it.
    let now = on.clock.now();
    let (oldest, newest) = (oldest(now).to_string(), newest_missed(now));
    for merchant in &on.config.merchants {
        on.shown.set(telemetry::RECONCILE_RED_DAYS, &[("merchant", merchant.key.as_str())], 0.0);
        on.shown.set(telemetry::BILLS_MISSING, &[("merchant", merchant.key.as_str())], 0.0);
    }
    for (merchant, count) in on.store.red_days().await? {
        on.shown.set(telemetry::RECONCILE_RED_DAYS, &[("merchant", &merchant)], count as f64);
    }
    for (merchant, count) in on.store.missing_bills((oldest.as_str(), newest.as_str())).await? {
        on.shown.set(telemetry::BILLS_MISSING, &[("merchant", &merchant)], count as f64);
    }
    Ok(())
}

/// Both classes of every merchant, so that a gauge without such payments is 0; also of a merchant that was removed.
async fn payments(on: &Reading) -> Result<(), JobError> {
    let mut open = BTreeMap::new();
    for merchant in &on.config.merchants {
        open.extend(OPEN_CLASSES.map(|class| ((merchant.key.to_string(), class.as_str()), 0)));
    }
    for (merchant, class, count) in on.store.open_payments().await? {
        open.insert((merchant.to_string(), class.as_str()), count);
    }
    for ((merchant, class), count) in open {
        on.shown.set(telemetry::PAYMENTS_OPEN, &[("merchant", &merchant), ("class", class)], count as f64);
    }
    Ok(())
}

async fn webhooks(on: &Reading) -> Result<(), JobError> {
    let (pending, oldest, failed) = on.store.webhook_gauges().await?;
    let age = oldest.map(|at| on.clock.now().since(at)).unwrap_or_default();
    on.shown.set(telemetry::WEBHOOK_PENDING, &[], pending as f64);
    on.shown.set(telemetry::WEBHOOK_OLDEST_PENDING_SECONDS, &[], age.as_secs_f64());
    on.shown.set(telemetry::WEBHOOK_ENDPOINTS_FAILED, &[], failed as f64);
    Ok(())
}

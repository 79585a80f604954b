//! Gauges that are asked for: queue lag, fill of streams, waiting events, dead letters, open payments and refunds.

use std::collections::BTreeMap;

use crate::ops::reason::ReasonClass;
use crate::reconcile::{newest_missed, oldest};
use crate::reconciliation::LineClass;
use crate::refund::RefundState;
use crate::scheduler::job::Context;
use crate::scheduler::outcome::{Done, JobError};
use crate::store::OPEN_CLASSES;
use crate::telemetry;

/// Measures the gauges that no event of the process changes.
pub async fn gauges(ctx: Context) -> Result<Done, JobError> {
    for lag in ctx.bus.lag().await? {
        let consumer = [("consumer", lag.consumer.as_str())];
        ctx.shown.set(telemetry::BUS_LAG_MESSAGES, &consumer, lag.pending as f64);
        let age = lag.oldest_age.unwrap_or_default();
        ctx.shown.set(telemetry::BUS_OLDEST_UNACKED_SECONDS, &consumer, age.as_secs_f64());
    }
    for fill in ctx.bus.fill().await? {
        let stream = [("stream", fill.stream.as_str())];
        ctx.shown.set(telemetry::BUS_STREAM_BYTES, &stream, fill.bytes as f64);
        ctx.shown.set(telemetry::BUS_STREAM_MAX_BYTES, &stream, fill.max_bytes as f64);
    }
    ctx.shown.set(telemetry::OUTBOX_PENDING, &[], ctx.store.outbox_pending().await? as f64);
    // Every class, so that a gauge without dead letters is 0; and what another version parks.
    let parked = ctx.store.dead_letters_by_reason().await?;
    let is_parked = |class: &&ReasonClass| parked.iter().any(|(reason, _)| reason == class.as_str());
    for class in ReasonClass::ALL.iter().filter(|class| !is_parked(class)) {
        ctx.shown.set(telemetry::DEAD_LETTERS, &[("reason", class.as_str())], 0.0);
    }
    for (reason, count) in &parked {
        ctx.shown.set(telemetry::DEAD_LETTERS, &[("reason", reason)], *count as f64);
    }
    payments(&ctx).await?;
    bills(&ctx).await?;
    let open = ctx.store.open_refunds().await?;
    for state in RefundState::ALL.iter().filter(|state| !state.is_final()) {
        let count = open.iter().find(|(name, _)| name == state.as_str()).map_or(0, |(_, n)| *n);
        ctx.shown.set(telemetry::REFUNDS_OPEN, &[("state", state.as_str())], count as f64);
    }
    webhooks(&ctx).await?;
    ctx.shown.measured();
    Ok(Done::default())
}

/// Every class and merchant, so that a gauge without differences is 0.
async fn bills(ctx: &Context) -> Result<(), JobError> {
    let open = ctx.store.open_mismatches().await?;
    for class in LineClass::ALL.iter().filter(|class| class.is_difference()) {
        let count = open.iter().find(|(name, _)| name == class.as_str()).map_or(0, |(_, n)| *n);
        ctx.shown.set(telemetry::RECONCILE_MISMATCHES, &[("class", class.as_str())], count as f64);
    }
    // Of an older day WeChat has no bill any more: no wait brings it.
    let now = ctx.clock.now();
    let (oldest, newest) = (oldest(now).to_string(), newest_missed(now));
    for merchant in &ctx.config.merchants {
        ctx.shown.set(telemetry::RECONCILE_RED_DAYS, &[("merchant", merchant.key.as_str())], 0.0);
        ctx.shown.set(telemetry::BILLS_MISSING, &[("merchant", merchant.key.as_str())], 0.0);
    }
    for (merchant, count) in ctx.store.red_days().await? {
        ctx.shown.set(telemetry::RECONCILE_RED_DAYS, &[("merchant", &merchant)], count as f64);
    }
    for (merchant, count) in ctx.store.missing_bills((oldest.as_str(), newest.as_str())).await? {
        ctx.shown.set(telemetry::BILLS_MISSING, &[("merchant", &merchant)], count as f64);
    }
    Ok(())
}

/// Both classes of every merchant, so that a gauge without such payments is 0; also of a merchant that was removed.
async fn payments(ctx: &Context) -> Result<(), JobError> {
    let mut open = BTreeMap::new();
    for merchant in &ctx.config.merchants {
        open.extend(OPEN_CLASSES.map(|class| ((merchant.key.to_string(), class.as_str()), 0)));
    }
    for (merchant, class, count) in ctx.store.open_payments().await? {
        open.insert((merchant.to_string(), class.as_str()), count);
    }
    for ((merchant, class), count) in open {
        ctx.shown.set(telemetry::PAYMENTS_OPEN, &[("merchant", &merchant), ("class", class)], count as f64);
    }
    Ok(())
}

async fn webhooks(ctx: &Context) -> Result<(), JobError> {
    let (pending, oldest, failed) = ctx.store.webhook_gauges().await?;
    let age = oldest.map(|at| ctx.clock.now().since(at)).unwrap_or_default();
    ctx.shown.set(telemetry::WEBHOOK_PENDING, &[], pending as f64);
    ctx.shown.set(telemetry::WEBHOOK_OLDEST_PENDING_SECONDS, &[], age.as_secs_f64());
    ctx.shown.set(telemetry::WEBHOOK_ENDPOINTS_FAILED, &[], failed as f64);
    Ok(())
}

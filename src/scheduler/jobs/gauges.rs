//! Gauges that are asked for: queue lag, fill of streams, waiting events, dead letters, open refunds.

use std::collections::BTreeSet;

use metrics::gauge;

use crate::ops::reason::ReasonClass;
use crate::refund::RefundState;
use crate::scheduler::job::Context;
use crate::scheduler::outcome::{Done, JobError};
use crate::telemetry;

/// Measures the gauges that no event of the process changes.
pub async fn gauges(ctx: Context) -> Result<Done, JobError> {
    for lag in ctx.bus.lag().await? {
        let consumer = lag.consumer.to_string();
        gauge!(telemetry::BUS_LAG_MESSAGES, "consumer" => consumer.clone()).set(lag.pending as f64);
        let age = lag.oldest_age.unwrap_or_default();
        gauge!(telemetry::BUS_OLDEST_UNACKED_SECONDS, "consumer" => consumer).set(age);
    }
    for fill in ctx.bus.fill().await? {
        gauge!(telemetry::BUS_STREAM_BYTES, "stream" => fill.stream.clone()).set(fill.bytes as f64);
        gauge!(telemetry::BUS_STREAM_MAX_BYTES, "stream" => fill.stream).set(fill.max_bytes as f64);
    }
    gauge!(telemetry::OUTBOX_PENDING).set(ctx.store.outbox_pending().await? as f64);
    let parked = ctx.store.dead_letters_by_reason().await?;
    let counts = |reason: &str| parked.iter().find(|(name, _)| name == reason).map_or(0, |(_, count)| *count);
    // Every class, so that a gauge without dead letters is 0; and what another version parks, until it is 0, too.
    let mut reasons: BTreeSet<String> = ReasonClass::ALL.iter().map(|class| class.as_str().to_owned()).collect();
    if let Ok(mut seen) = ctx.seen_reasons.lock() {
        seen.extend(parked.iter().map(|(reason, _)| reason.clone()));
        reasons.extend(seen.iter().cloned());
    }
    for reason in reasons {
        gauge!(telemetry::DEAD_LETTERS, "reason" => reason.clone()).set(counts(&reason) as f64);
    }
    let open = ctx.store.open_refunds().await?;
    for state in RefundState::ALL.iter().filter(|state| !state.is_final()) {
        let count = open.iter().find(|(name, _)| name == state.as_str()).map_or(0, |(_, n)| *n);
        gauge!(telemetry::REFUNDS_OPEN, "state" => state.as_str()).set(count as f64);
    }
    Ok(Done::default())
}

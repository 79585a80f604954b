//! Refunds whose time has come: to be called for again, or to be asked about.

use std::time::Duration;

use metrics::gauge;

use super::jobs::{Context, JobError};
use crate::bus::{ConsumerName, Message};
use crate::event::command::RefundDue;
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::order::RefundState;
use crate::telemetry;

/// Refunds taken up in one run.
const PER_RUN: u64 = 200;
/// With more than this waiting, more would only fill the queue.
const WAITING_MAX: u64 = 2000;
/// One that was taken up and lost comes again after this.
const LEASE: Duration = Duration::from_secs(60);

/// Asks the workers to bring every due refund on.
pub async fn pending_refunds(ctx: Context) -> Result<u64, JobError> {
    let waiting = ctx.bus.lag().await?.into_iter().find(|lag| lag.consumer == ConsumerName::REFUND);
    if waiting.is_some_and(|lag| lag.pending > WAITING_MAX) {
        tracing::warn!("refunds wait for their workers; no more are taken up until they caught up");
        return Ok(0);
    }
    let now = ctx.clock.now();
    let due = ctx.store.take_due_refunds(now, LEASE, PER_RUN).await?;
    let count = due.len() as u64;
    for (merchant, refund_no) in due {
        crate::crash::point("scheduler.refund_taken");
        let event = Envelope::new(&merchant, RefundDue::TYPE, None, now, RefundDue { refund_no, only_ask: false });
        let message = Message {
            subject: subject::refund_due(&merchant),
            id: event.id,
            payload: event.to_json()?.into_bytes(),
            headers: Vec::new(),
        };
        ctx.bus.publish(message).await?;
        crate::crash::point("scheduler.refund_published");
    }
    Ok(count)
}

/// Counts the refunds that have not come to their end.
pub async fn refund_gauges(ctx: Context) -> Result<u64, JobError> {
    let open = ctx.store.open_refunds().await?;
    for state in RefundState::ALL.iter().filter(|state| !state.is_final()) {
        let count = open.iter().find(|(name, _)| name == state.as_str()).map_or(0, |(_, n)| *n);
        gauge!(telemetry::REFUNDS_OPEN, "state" => state.as_str()).set(count as f64);
    }
    Ok(0)
}

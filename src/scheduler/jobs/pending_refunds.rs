//! Refunds whose time has come: to be called for again, or to be asked about.

use std::time::Duration;

use crate::bus::{ConsumerName, Message};
use crate::event::command::RefundDue;
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::scheduler::job::{Context, Reading};
use crate::scheduler::outcome::{Done, JobError};
use crate::store::Fenced;

/// Refunds taken up in one run.
const PER_RUN: u32 = 200;
/// With more than this waiting, more would only fill the queue.
const WAITING_MAX: u64 = 2000;
/// One whose message was lost is published again after this.
const PUT_OFF: Duration = Duration::from_secs(60);

/// Whether a refund is due.
pub async fn has_due_refunds(on: Reading) -> Result<bool, JobError> {
    Ok(on.store.has_due_refund(on.now()).await?)
}

/// Publishes a command for every due refund.
pub async fn pending_refunds(ctx: Context) -> Result<Done, JobError> {
    let waiting = ctx.bus.lag().await?.into_iter().find(|lag| lag.consumer == ConsumerName::REFUND);
    if waiting.is_some_and(|lag| lag.pending > WAITING_MAX) {
        tracing::warn!("due refunds wait for workers; no more are published until these are done");
        return Ok(Done::default());
    }
    let now = ctx.clock.now();
    let due = match ctx.store.take_due_refunds(&ctx.lease, now, PUT_OFF, PER_RUN).await? {
        Fenced::Done(due) => due,
        Fenced::Lost => return Err(JobError::Overtaken),
    };
    let count = due.len() as u64;
    for (merchant, refund_no) in due {
        crate::failpoint::point("scheduler.refund_taken");
        let event = Envelope::new(&merchant, RefundDue::TYPE, None, now, RefundDue { refund_no, only_ask: false });
        let message = Message {
            subject: subject::refund_due(&merchant),
            id: event.id,
            payload: event.to_json()?.into_bytes(),
            headers: Vec::new(),
        };
        ctx.publish_due(message).await?;
        crate::failpoint::point("scheduler.refund_published");
    }
    Ok(count.into())
}

//! Orders that WeChat must be asked about: each due question becomes a command for the workers.

use std::time::Duration;

use crate::bus::{ConsumerName, Message};
use crate::event::command::QueryDue;
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::scheduler::table::{Context, Done, JobError};

/// Orders asked about in one run: the bound that keeps a backlog from becoming a storm at WeChat.
const QUERIES_PER_RUN: u64 = 200;
/// With more than this waiting, asking for more only fills the queue that notifications need.
const QUERIES_WAITING_MAX: u64 = 2000;
/// A question that has no answer by then is asked again.
const QUERY_LEASE: Duration = Duration::from_secs(60);

/// Asks the workers to ask WeChat about every order whose question is due.
pub async fn pending_queries(ctx: Context) -> Result<Done, JobError> {
    let waiting = ctx.bus.lag().await?.into_iter().find(|lag| lag.consumer == ConsumerName::QUERY);
    if waiting.is_some_and(|lag| lag.pending > QUERIES_WAITING_MAX) {
        tracing::warn!("questions to WeChat wait for their workers; no more are asked until they caught up");
        return Ok(Done::default());
    }
    let now = ctx.clock.now();
    let due = ctx.store.take_due_queries(now, QUERY_LEASE, QUERIES_PER_RUN).await?;
    let count = due.len() as u64;
    for (merchant, order_no) in due {
        crate::crash::point("scheduler.query_taken");
        let about = Some(order_no.to_string());
        let event = Envelope::new(&merchant, QueryDue::TYPE, about, now, QueryDue { order_no });
        let message = Message {
            subject: subject::query_due(&merchant),
            id: event.id,
            payload: event.to_json()?.into_bytes(),
            headers: Vec::new(),
        };
        ctx.bus.publish(message).await?;
        crate::crash::point("scheduler.query_published");
    }
    Ok(count.into())
}

//! Orders that WeChat must be asked about: each due question becomes a command for the workers.
//!
//! A merchant's budget (`queries_per_second`) bounds how many are asked for in one run, so that a thousand orders that expire
//! together are no storm at WeChat; those that were due first go first. Whose orders there are, the database says and not this
//! process's configuration: while a new merchant is being rolled out, the workers may know it before the scheduler does.

use std::time::Duration;

use futures_util::future::join_all;

use crate::bus::{ConsumerName, Message};
use crate::clock::Timestamp;
use crate::event::command::QueryDue;
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::ids::{MerchantKey, OrderNo};
use crate::scheduler::table::{Context, Done, JobError};
use crate::store::Fenced;

/// With more than this waiting, asking for more only fills the queue that notifications need.
const QUERIES_WAITING_MAX: u64 = 2000;
/// A question that has no answer by then is asked again.
const PUT_OFF: Duration = Duration::from_secs(60);

/// The budget of a merchant that this process does not have configured: another one may, and if none does, its questions must
/// not take the place of others'.
const UNKNOWN_PER_SECOND: u32 = 20;

/// Asks the workers to ask WeChat about every order whose question is due.
pub async fn pending_queries(ctx: Context) -> Result<Done, JobError> {
    let waiting = ctx.bus.lag().await?.into_iter().find(|lag| lag.consumer == ConsumerName::QUERY);
    if waiting.is_some_and(|lag| lag.pending > QUERIES_WAITING_MAX) {
        tracing::warn!("questions to WeChat wait for their workers; no more are asked until they caught up");
        return Ok(Done::default());
    }
    let now = ctx.clock.now();
    let mut count = 0;
    // Mostly nothing is due, which is found without a writer.
    for merchant in ctx.store.merchants_to_ask_about(now).await? {
        crate::crash::point("scheduler.query_due");
        let known = ctx.config.merchant(merchant.as_str());
        let budget = known.map_or(UNKNOWN_PER_SECOND, |known| known.queries_per_second);
        let due = match ctx.store.take_due_queries(&ctx.lease, &merchant, now, PUT_OFF, budget).await? {
            Fenced::Done(due) => due,
            Fenced::Lost => return Err(JobError::Overtaken),
        };
        count += due.len() as u64;
        // At once: the bus makes many of them durable together.
        for published in join_all(due.into_iter().map(|order_no| ask(&ctx, &merchant, order_no, now))).await {
            published?;
        }
    }
    Ok(count.into())
}

async fn ask(ctx: &Context, merchant: &MerchantKey, order_no: OrderNo, now: Timestamp) -> Result<(), JobError> {
    crate::crash::point("scheduler.query_taken");
    let about = Some(order_no.to_string());
    let event = Envelope::new(merchant, QueryDue::TYPE, about, now, QueryDue { order_no, refresh: false });
    let payload = event.to_json()?.into_bytes();
    let message = Message { subject: subject::query_due(merchant), id: event.id, payload, headers: Vec::new() };
    ctx.bus.publish(message).await?;
    crate::crash::point("scheduler.query_published");
    Ok(())
}

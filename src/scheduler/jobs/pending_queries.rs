//! Orders that WeChat must be asked about: each due question becomes a command for the workers.
//!
//! A merchant's budget (`queries_per_second`) bounds how many are asked for in one run, so that a thousand orders that
//! expire together do not overload WeChat (backpressure); those that were due first go first. Merchants that only the
//! database knows are asked about too, rarely: while a new one is being rolled out, the workers may know it before the
//! scheduler does.

use std::time::Duration;

use futures_util::future::join_all;

use crate::bus::{ConsumerName, Message};
use crate::clock::Timestamp;
use crate::event::command::QueryDue;
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::ids::{MerchantKey, OrderNo};
use crate::scheduler::job::{Context, Reading};
use crate::scheduler::outcome::{Done, JobError};
use crate::store::Fenced;

/// With more than this waiting, asking for more only fills the queue that notifications need.
const QUERIES_WAITING_MAX: u64 = 2000;
/// A question that has no answer by then is asked again.
const PUT_OFF: Duration = Duration::from_secs(60);

/// A merchant that this process does not have configured: another one may, and if none does, its questions must neither
/// take the place of others' nor come all the time.
const UNKNOWN_EVERY_S: i64 = 10;
const UNKNOWN_PER_RUN: u32 = 200;
const UNKNOWN_PUT_OFF: Duration = Duration::from_secs(3600);

/// Whether a question is due.
pub async fn has_due_queries(on: Reading) -> Result<bool, JobError> {
    let now = on.now();
    for merchant in &on.config.merchants {
        if on.store.has_due_query(&merchant.key, now).await? {
            return Ok(true);
        }
    }
    // Before a rest all of them: the next check may not be at that second.
    if on.ahead.is_zero() && now.as_seconds() % UNKNOWN_EVERY_S != 0 {
        return Ok(false);
    }
    let due = on.store.merchants_to_ask_about(now).await?;
    Ok(due.iter().any(|merchant| on.config.merchant(merchant.as_str()).is_none()))
}

/// Asks the workers to ask WeChat about every order whose question is due.
pub async fn pending_queries(ctx: Context) -> Result<Done, JobError> {
    let waiting = ctx.bus.lag().await?.into_iter().find(|lag| lag.consumer == ConsumerName::QUERY);
    if waiting.is_some_and(|lag| lag.pending > QUERIES_WAITING_MAX) {
        tracing::warn!("due queries wait for workers; no more are published until these are done");
        return Ok(Done::default());
    }
    let now = ctx.clock.now();
    let mut count = 0;
    for merchant in &ctx.config.merchants {
        count += ask_of(&ctx, &merchant.key, now, PUT_OFF, merchant.queries_per_second).await?;
    }
    if count == 0 || now.as_seconds() % UNKNOWN_EVERY_S == 0 {
        for merchant in ctx.store.merchants_to_ask_about(now).await? {
            if ctx.config.merchant(merchant.as_str()).is_none() {
                count += ask_of(&ctx, &merchant, now, UNKNOWN_PUT_OFF, UNKNOWN_PER_RUN).await?;
            }
        }
    }
    Ok(count.into())
}

/// Asks about up to `limit` of a merchant's orders.
async fn ask_of(
    ctx: &Context,
    merchant: &MerchantKey,
    now: Timestamp,
    put_off: Duration,
    limit: u32,
) -> Result<u64, JobError> {
    // Mostly nothing is due, which is found without a writer.
    if !ctx.store.has_due_query(merchant, now).await? {
        return Ok(0);
    }
    crate::failpoint::point("scheduler.query_due");
    let due = match ctx.store.take_due_queries(&ctx.lease, merchant, now, put_off, limit).await? {
        Fenced::Done(due) => due,
        Fenced::Lost => return Err(JobError::Overtaken),
    };
    let count = due.len() as u64;
    // At once: the bus makes many of them durable together.
    for published in join_all(due.into_iter().map(|order_no| ask(ctx, merchant, order_no, now))).await {
        published?;
    }
    Ok(count)
}

async fn ask(ctx: &Context, merchant: &MerchantKey, order_no: OrderNo, now: Timestamp) -> Result<(), JobError> {
    crate::failpoint::point("scheduler.query_taken");
    let about = Some(order_no.to_string());
    let event = Envelope::new(merchant, QueryDue::TYPE, about, now, QueryDue { order_no, refresh: false });
    let payload = event.to_json()?.into_bytes();
    let message = Message { subject: subject::query_due(merchant), id: event.id, payload, headers: Vec::new() };
    ctx.publish_due(message).await?;
    crate::failpoint::point("scheduler.query_published");
    Ok(())
}

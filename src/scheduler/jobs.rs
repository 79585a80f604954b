//! What is done regularly, in one table.

use std::time::Duration;

use futures_util::future::BoxFuture;
use metrics::gauge;

use super::refunds;
use crate::bus::{Bus, ConsumerName, LagError, Message, PublishError};
use crate::clock::Clock;
use crate::event::command::QueryDue;
use crate::event::envelope::{Envelope, EnvelopeError, EventData};
use crate::event::subject;
use crate::ids::EventId;
use crate::store::{DbError, Store};
use crate::telemetry;

/// What a job has at hand.
#[derive(Clone)]
pub struct Context {
    pub store: Store,
    pub bus: Bus,
    pub clock: Clock,
}

/// Why a run failed; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error(transparent)]
    Store(#[from] DbError),
    #[error(transparent)]
    Bus(#[from] PublishError),
    #[error(transparent)]
    Lag(#[from] LagError),
    #[error(transparent)]
    Event(#[from] EnvelopeError),
}

/// A job: its name, its cron expression (with seconds, UTC), and what it does. The result says how much was done.
pub struct Job {
    pub name: &'static str,
    pub cron: &'static str,
    pub run: fn(Context) -> BoxFuture<'static, Result<u64, JobError>>,
}

/// Every job.
pub const JOBS: &[Job] = &[
    Job { name: "pending_queries", cron: "*/1 * * * * *", run: |ctx| Box::pin(pending_queries(ctx)) },
    Job { name: "pending_refunds", cron: "*/1 * * * * *", run: |ctx| Box::pin(refunds::pending_refunds(ctx)) },
    Job { name: "refund_gauges", cron: "*/10 * * * * *", run: |ctx| Box::pin(refunds::refund_gauges(ctx)) },
    Job { name: "deferred_messages", cron: "*/1 * * * * *", run: |ctx| Box::pin(deferred_messages(ctx)) },
    Job { name: "gauges", cron: "*/10 * * * * *", run: |ctx| Box::pin(gauges(ctx)) },
];

/// Orders asked about in one run: the bound that keeps a backlog from becoming a storm at WeChat.
const QUERIES_PER_RUN: u64 = 200;
/// With more than this waiting, asking for more only fills the queue that notifications need.
const QUERIES_WAITING_MAX: u64 = 2000;
/// A question that has no answer by then is asked again.
const QUERY_LEASE: Duration = Duration::from_secs(60);
/// Deferred messages published in one run.
const MESSAGES_PER_RUN: u64 = 500;

/// Asks the workers to ask WeChat about every order whose question is due.
async fn pending_queries(ctx: Context) -> Result<u64, JobError> {
    let waiting = ctx.bus.lag().await?.into_iter().find(|lag| lag.consumer == ConsumerName::QUERY);
    if waiting.is_some_and(|lag| lag.pending > QUERIES_WAITING_MAX) {
        tracing::warn!("questions to WeChat wait for their workers; no more are asked until they caught up");
        return Ok(0);
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
    Ok(count)
}

/// Measures what only a look at the whole tells: queue lag, waiting events, dead letters.
async fn gauges(ctx: Context) -> Result<u64, JobError> {
    for lag in ctx.bus.lag().await? {
        let consumer = lag.consumer.to_string();
        gauge!(telemetry::BUS_LAG_MESSAGES, "consumer" => consumer.clone()).set(lag.pending as f64);
        let age = lag.oldest_age.unwrap_or_default();
        gauge!(telemetry::BUS_OLDEST_UNACKED_SECONDS, "consumer" => consumer).set(age);
    }
    gauge!(telemetry::OUTBOX_PENDING).set(ctx.store.outbox_pending().await? as f64);
    for (reason, count) in ctx.store.dead_letters_by_reason().await? {
        gauge!(telemetry::DEAD_LETTERS, "reason" => reason).set(count as f64);
    }
    Ok(0)
}

/// Publishes again what had to wait longer than a bus should hold it.
async fn deferred_messages(ctx: Context) -> Result<u64, JobError> {
    let due = ctx.store.due_messages(ctx.clock.now(), MESSAGES_PER_RUN).await?;
    let mut published = 0;
    for stored in due {
        crate::crash::point("scheduler.deferred_due");
        let Ok(id) = EventId::parse(&stored.event_id) else {
            tracing::error!(event.id = stored.event_id, "a deferred message has no valid id");
            continue;
        };
        let message = Message {
            subject: stored.subject.clone(),
            id,
            payload: stored.payload.clone(),
            headers: stored.headers.clone(),
        };
        // Published first, forgotten after: whoever dies in between publishes it twice, and the bus takes it once.
        match ctx.bus.publish(message).await {
            Ok(()) => published += 1,
            // Its row stays and can be listed; those behind it must not wait for it.
            Err(e @ (PublishError::TooLarge | PublishError::Misdirected(_))) => {
                tracing::error!(event.id = stored.event_id, error = %e, "a deferred message cannot be published");
                continue;
            }
            Err(e @ (PublishError::Unavailable(_) | PublishError::Full | PublishError::Timeout)) => {
                return Err(e.into());
            }
        }
        crate::crash::point("scheduler.deferred_published");
        ctx.store.forget_deferred(&stored).await?;
        crate::crash::point("scheduler.deferred_forgotten");
    }
    Ok(published)
}

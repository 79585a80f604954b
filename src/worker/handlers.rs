//! Which handler works on which consumer, in one table.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{BoxFuture, join_all};
use tokio_util::sync::CancellationToken;

use super::core::context::Context;
use super::core::dead_letter::StoreParking;
use super::core::handler;
use super::core::handler::Handler;
use super::notification::{Settle, settle_together};
use super::order::commands::{CloseOrder, OpenAttempt};
use super::order::poll::PollOrder;
use super::order::request::{PlaceOrder, RenewPrepay};
use super::refund::StepRefund;
use crate::bus::{Bus, ConsumeError, ConsumerName, Delivery, Together, Verdict};
use crate::store::DbKind;
use crate::telemetry;

/// A consumer of `nats/topology.toml` and what handles its messages.
struct Consumer {
    name: ConsumerName,
    /// How many handlers run at once in one process.
    concurrency: usize,
    /// What handles a message, by the last word of its subject.
    handlers: &'static [(&'static str, Run)],
    /// What handles messages that come together.
    together: Option<RunTogether>,
}

type Run = fn(Context, Delivery) -> BoxFuture<'static, Verdict>;

type RunTogether = fn(Context, Vec<Delivery>) -> BoxFuture<'static, Vec<Option<Verdict>>>;

/// Any last word.
const ANY: &str = "*";

const CONSUMERS: &[Consumer] = &[
    Consumer {
        name: ConsumerName::PREPARE_ORDER,
        concurrency: 256,
        handlers: &[
            on::<PlaceOrder>("requested"),
            on::<RenewPrepay>("prepay_due"),
            on::<CloseOrder>("close_requested"),
            on::<OpenAttempt>("attempt_requested"),
        ],
        together: None,
    },
    Consumer {
        name: ConsumerName::SETTLE,
        concurrency: 128,
        handlers: &[on::<Settle>(ANY)],
        together: Some(|ctx, deliveries| Box::pin(async move { settle_together(&ctx, deliveries).await })),
    },
    Consumer { name: ConsumerName::QUERY, concurrency: 32, handlers: &[on::<PollOrder>(ANY)], together: None },
    Consumer { name: ConsumerName::REFUND, concurrency: 32, handlers: &[on::<StepRefund>(ANY)], together: None },
];

const fn on<H: Handler>(word: &'static str) -> (&'static str, Run) {
    (word, |ctx, delivery| Box::pin(handler::run::<H>(ctx, delivery)))
}

impl Consumer {
    async fn handle(&self, ctx: Context, delivery: Delivery) -> Verdict {
        let last = delivery.message.subject.rsplit('.').next().unwrap_or_default();
        match self.handlers.iter().find(|(word, _)| *word == ANY || *word == last) {
            Some((_, run)) => run(ctx, delivery).await,
            None => Verdict::Park { reason: "unknown_subject", why: "no handler for this subject".into() },
        }
    }
}

impl Consumer {
    /// Counts what a handler said.
    fn handled<'a>(&self, verdicts: impl Iterator<Item = &'a Verdict>, started: Instant) {
        let (kind, took) = (self.name.to_string(), started.elapsed());
        let mut counts = [("done", 0), ("retry", 0), ("unavailable", 0), ("park", 0)];
        let seconds = metrics::histogram!(telemetry::WORKER_SECONDS, "kind" => kind.clone());
        for verdict in verdicts {
            crate::failpoint::point("worker.handled");
            seconds.record(took);
            counts[match verdict {
                Verdict::Done => 0,
                Verdict::Retry { .. } | Verdict::Locked { .. } => 1,
                Verdict::Unavailable { .. } => 2,
                Verdict::Park { .. } => 3,
            }]
            .1 += 1;
        }
        for (outcome, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            metrics::counter!(telemetry::WORKER_ATTEMPTS_TOTAL, "kind" => kind.clone(), "outcome" => outcome)
                .increment(count);
        }
    }
}

/// Handles a message that is replayed, as the consumer that it was parked by.
pub(in crate::worker) async fn handle_again(consumer: &str, ctx: Context, delivery: Delivery) -> Verdict {
    match CONSUMERS.iter().find(|known| known.name.as_str() == consumer) {
        Some(known) => known.handle(ctx, delivery).await,
        None => Verdict::Park { reason: "unknown_subject", why: "no consumer has this name".into() },
    }
}

/// Works on every consumer until cancelled; handlers that run then finish first.
pub async fn run(ctx: Context, bus: Bus, cancel: CancellationToken) -> Result<(), ConsumeError> {
    let parking = Arc::new(StoreParking::new(ctx.store.clone(), ctx.clock.clone()));
    let consumers = CONSUMERS.iter().map(|consumer| {
        let (ctx, bus, parking, cancel) = (ctx.clone(), bus.clone(), Arc::clone(&parking), cancel.clone());
        async move {
            // One group is prepared while PostgreSQL writes another. Where callers wait for the same database, as on
            // the embedded queue and on SQLite, they wait for one group.
            let may_overlap = bus.has_outside_subscribers() && ctx.store.db().kind() == DbKind::Postgres;
            let groups = if consumer.together.is_some() && may_overlap { 2 } else { 1 };
            let (name, concurrency) = (consumer.name.clone(), groups * consumer.concurrency);
            let of_many = ctx.clone();
            let run = move |delivery: Delivery| {
                let started = Instant::now();
                let work = consumer.handle(ctx.for_delivery(), delivery);
                async move {
                    let verdict = work.await;
                    consumer.handled(std::iter::once(&verdict), started);
                    verdict
                }
            };
            let Some(together) = consumer.together else {
                return bus.consume(name, concurrency, run, parking, cancel).await;
            };
            let together: Together = Arc::new(move |deliveries| {
                let started = Instant::now();
                let work = together(of_many.for_delivery(), deliveries);
                Box::pin(async move {
                    let verdicts = work.await;
                    consumer.handled(verdicts.iter().flatten(), started);
                    verdicts
                })
            });
            bus.consume_together(name, concurrency, (run, together), parking, cancel).await
        }
    });
    join_all(consumers).await.into_iter().collect()
}

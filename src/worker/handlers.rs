//! Which handler works on which consumer, in one table.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use tokio_util::sync::CancellationToken;

use super::core::context::Context;
use super::core::dead_letter::StoreParking;
use super::order::{commands, poll, request};
use super::{notification, refund};
use crate::bus::{Bus, ConsumeError, ConsumerName, Delivery, Verdict};
use crate::telemetry;

type Handler = fn(Context, Delivery) -> BoxFuture<'static, Verdict>;

/// Consumer of `nats/topology.toml`, its handler, how many run at once in one process.
const HANDLERS: &[(ConsumerName, Handler, usize)] = &[
    (ConsumerName::PREPARE_ORDER, |ctx, d| Box::pin(async move { order(&ctx, d).await }), 256),
    (ConsumerName::SETTLE, |ctx, d| Box::pin(async move { notification::settle(&ctx, d).await }), 512),
    (ConsumerName::QUERY, |ctx, d| Box::pin(async move { poll::due(&ctx, d).await }), 32),
    (ConsumerName::REFUND, |ctx, d| Box::pin(async move { refund::due(&ctx, d).await }), 32),
];

/// Works on every consumer until cancelled; handlers that run then finish first.
pub async fn run(ctx: Context, bus: Bus, cancel: CancellationToken) -> Result<(), ConsumeError> {
    let parking = Arc::new(StoreParking::new(ctx.store.clone(), ctx.clock.clone()));
    let consumers = HANDLERS.iter().map(|(name, handler, concurrency)| {
        let (ctx, bus, parking, cancel) = (ctx.clone(), bus.clone(), Arc::clone(&parking), cancel.clone());
        async move {
            let run = move |delivery: Delivery| {
                let started = std::time::Instant::now();
                let work = handler(ctx.for_delivery(), delivery);
                async move {
                    let verdict = work.await;
                    crate::failpoint::point("worker.handled");
                    let outcome = match &verdict {
                        Verdict::Done => "done",
                        Verdict::Retry { .. } => "retry",
                        Verdict::Unavailable { .. } => "unavailable",
                        Verdict::Park { .. } => "park",
                    };
                    let kind = name.to_string();
                    metrics::counter!(telemetry::WORKER_ATTEMPTS_TOTAL, "kind" => kind.clone(), "outcome" => outcome)
                        .increment(1);
                    metrics::histogram!(telemetry::WORKER_SECONDS, "kind" => kind).record(started.elapsed());
                    verdict
                }
            };
            bus.consume(name.clone(), *concurrency, run, parking, cancel).await
        }
    });
    join_all(consumers).await.into_iter().collect()
}

async fn order(ctx: &Context, delivery: Delivery) -> Verdict {
    match delivery.message.subject.rsplit('.').next() {
        Some("requested") => request::requested(ctx, delivery).await,
        Some("prepay_due") => request::prepay_due(ctx, delivery).await,
        Some("close_requested") => commands::close(ctx, delivery).await,
        Some("attempt_requested") => commands::attempt(ctx, delivery).await,
        _ => Verdict::Park { reason: "unknown_subject", why: "no handler for this subject".into() },
    }
}

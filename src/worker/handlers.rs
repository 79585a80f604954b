//! Which handler works on which consumer, in one table.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use tokio_util::sync::CancellationToken;

use super::{Context, StoreParking, prepare_order, query, settle};
use crate::bus::{Bus, BusError, ConsumerName, Delivery, Verdict};
use crate::config::Merchant;

type Handler = fn(Context, Delivery) -> BoxFuture<'static, Verdict>;

/// Consumer of `nats/topology.toml`, its handler, how many run at once in one process.
const HANDLERS: &[(&str, Handler, usize)] = &[
    ("prepare-order", |ctx, d| Box::pin(async move { order(&ctx, d).await }), 256),
    ("settle", |ctx, d| Box::pin(async move { settle::settle(&ctx, d).await }), 512),
    ("query", |ctx, d| Box::pin(async move { query::due(&ctx, d).await }), 32),
];

/// Works on every consumer until cancelled; handlers that run then finish first.
pub async fn run(ctx: Context, bus: Arc<Bus>, cancel: CancellationToken) -> Result<(), BusError> {
    let parking = Arc::new(StoreParking::new(ctx.store.clone(), ctx.clock.clone()));
    let consumers = HANDLERS.iter().map(|(name, handler, concurrency)| {
        let (ctx, bus, parking, cancel) = (ctx.clone(), Arc::clone(&bus), Arc::clone(&parking), cancel.clone());
        async move {
            let run = move |delivery: Delivery| {
                let started = std::time::Instant::now();
                let work = handler(ctx.clone(), delivery);
                async move {
                    let verdict = work.await;
                    crate::crash::point("worker.handled");
                    let outcome = match &verdict {
                        Verdict::Done => "done",
                        Verdict::Retry { .. } => "retry",
                        Verdict::Park { .. } => "park",
                    };
                    metrics::counter!("wxpay_worker_attempts_total", "kind" => *name, "outcome" => outcome)
                        .increment(1);
                    metrics::histogram!("wxpay_worker_seconds", "kind" => *name).record(started.elapsed());
                    verdict
                }
            };
            bus.consume(ConsumerName::parse(name)?, *concurrency, run, parking, cancel).await
        }
    });
    join_all(consumers).await.into_iter().collect()
}

async fn order(ctx: &Context, delivery: Delivery) -> Verdict {
    match delivery.message.subject.rsplit('.').next() {
        Some("requested") => prepare_order::requested(ctx, delivery).await,
        Some("prepay_due") => prepare_order::prepay_due(ctx, delivery).await,
        _ => Verdict::Park { reason: "unknown_subject", why: "no handler for this subject".into() },
    }
}

/// The merchant whose subject a message came on.
pub(super) fn merchant_of<'a>(ctx: &'a Context, subject: &str) -> Option<&'a Merchant> {
    ctx.config.merchant(subject.split('.').nth(2)?)
}

//! Placing an order from the process that took its request: without the bus, and with the answer in memory.
//!
//! The order was recorded under this process's claim, and WeChat's first answer is decided on it as it was recorded.
//! What would be a redelivery of its command is another try here, for as long as the claim holds; after that the
//! order's row has it polled. What must become a dead letter becomes one with the command that would have been
//! published.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claim::Claim;
use super::submit::{Submitted, Target, submit};
use crate::bus::{ConsumerName, Message, Parked, Parking, Verdict};
use crate::event::command::OrderRequested;
use crate::event::envelope::Envelope;
use crate::event::subject;
use crate::new_order::{PlaceHere, Slot};
use crate::store::{NewOrder, RecordedRow, StoredOrder};
use crate::telemetry;
use crate::worker::core::context::Context;
use crate::worker::core::dead_letter::StoreParking;

/// Orders that are placed at once from one process; what comes beyond goes by the bus.
const AT_ONCE: u32 = 512;
/// Placing that takes longer has failed; the order is polled.
const HANDLING_MAX: Duration = Duration::from_secs(60);
/// The pause before another try: at first, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Places orders from this process. Clones share its room.
#[derive(Clone)]
pub struct OrderPlacer {
    ctx: Context,
    parking: Arc<StoreParking>,
    room: Arc<Semaphore>,
    lease: Duration,
}

impl OrderPlacer {
    /// `lease` is how long the claim of a process that crashed stays its own.
    pub fn new(ctx: Context, lease: Duration) -> OrderPlacer {
        let parking = Arc::new(StoreParking::new(ctx.store.clone(), ctx.clock.clone()));
        OrderPlacer { ctx, parking, room: Arc::new(Semaphore::new(AT_ONCE as usize)), lease }
    }

    /// Returns after `stop`, when what is being placed then has come to its end. Nothing is placed from here any more.
    pub async fn until_done(self, stop: CancellationToken) {
        stop.cancelled().await;
        if let Ok(all) = self.room.acquire_many(AT_ONCE).await {
            all.forget();
        }
    }
}

impl PlaceHere for OrderPlacer {
    fn slot(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let (ctx, parking, lease, begun) =
            (self.ctx.for_delivery(), Arc::clone(&self.parking), self.lease, Instant::now());
        let place = move |order: NewOrder, row: RecordedRow, command| {
            let claim = Claim::of_new(&order, begun, lease);
            let work = Work { ctx, parking, target: Target::first(&order, &row), command, _room: permit };
            Box::pin(async move { work.run(claim?).await }) as crate::new_order::Placing
        };
        Some(Slot::new(lease, place))
    }
}

struct Work {
    ctx: Context,
    parking: Arc<StoreParking>,
    target: Target,
    command: Envelope<OrderRequested>,
    _room: OwnedSemaphorePermit,
}

impl Work {
    async fn run(self, mut claim: Claim) -> Option<StoredOrder> {
        let begun = Instant::now();
        crate::failpoint::point("worker.order_claimed");
        let held = claim.hold(&self.ctx, tokio::time::timeout(HANDLING_MAX, self.place())).await;
        self.ctx.record_calls().await;
        let (order, outcome) = match held {
            Some(Ok(placed)) => placed,
            Some(Err(_)) => {
                tracing::error!(order_no = self.command.subject, "placing an order hung and was stopped");
                (None, "retry")
            }
            None => (None, "retry"),
        };
        if order.is_none() {
            claim.give_up(&self.ctx).await;
        }
        let kind = ConsumerName::PREPARE_ORDER.to_string();
        metrics::counter!(telemetry::WORKER_ATTEMPTS_TOTAL, "kind" => kind.clone(), "outcome" => outcome).increment(1);
        metrics::histogram!(telemetry::WORKER_SECONDS, "kind" => kind).record(begun.elapsed());
        crate::failpoint::point("worker.order_placed");
        order.map(|order| *order)
    }

    /// The order that WeChat's answer left, and the outcome's name.
    async fn place(&self) -> (Option<Box<StoredOrder>>, &'static str) {
        let (mut repeated, mut pause) = (false, AGAIN.0);
        loop {
            let Submitted { verdict, order } = submit(&self.ctx, self.target.clone(), repeated).await;
            let after = match verdict {
                Verdict::Done => return (order, "done"),
                Verdict::Park { reason, why } => {
                    self.park(reason, why).await;
                    return (order, "park");
                }
                Verdict::Unavailable { why } | Verdict::Locked { why } => {
                    tracing::info!(order_no = self.command.subject, why, "an order waits for the database");
                    pause
                }
                Verdict::Retry { after, why } => {
                    tracing::info!(order_no = self.command.subject, why, "the placing of an order is tried again");
                    after.max(pause)
                }
            };
            tokio::time::sleep(after).await;
            pause = (pause * 2).min(AGAIN.1);
            // The call may have been made.
            repeated = true;
        }
    }

    /// Keeps the command as a dead letter; tried until it is durable.
    async fn park(&self, reason: &'static str, why: String) {
        let payload = self.command.to_json().unwrap_or_default().into_bytes();
        let subject = subject::order_requested(&self.command.data.order.merchant);
        let message = Message { subject, id: self.command.id, payload, headers: Vec::new() };
        let (first_error, published_at) = (why.clone(), self.command.time);
        let consumer = ConsumerName::PREPARE_ORDER;
        let parked = Parked { message, consumer, reason, first_error, last_error: why, attempts: 1, published_at };
        let mut pause = AGAIN.0;
        while let Err(error) = self.parking.park(parked.clone()).await {
            tracing::warn!(order_no = self.command.subject, %error, "a dead letter is not stored yet");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }
}

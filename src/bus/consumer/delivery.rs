//! One delivery: its handler, and what becomes of it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use super::worker::Worker;
use crate::bus::dead_letter::{Deferred, Leaving, Parked, Parking, ParkingError};
use crate::bus::message::{Delivery, FIRST_ERROR, one_line};
use crate::bus::subscription::{Arrived, Receipt};
use crate::bus::verdict::{ALIEN, AWAY_MAX, MAX_BUS_DELAY, PANIC, STUCK, Step, Tries, Verdict, next_step};

/// How long a message waits after its handler panicked or was stopped.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// The error of a message that was in a bundle without coming to an end there.
const APART: &str = "the bundle with it was delivered before and had no end";

/// How long until a message is handled again while the database is away: at first, growing.
const HANDLED_AGAIN: Duration = Duration::from_millis(100);

/// A delivery with what is known of it.
pub(super) struct Arriving<R> {
    pub delivery: Delivery,
    pub on_bus: u32,
    pub first_error: Option<String>,
    alien: bool,
    apart: bool,
    /// Whether a delivery of it before this one had no end, as when its process died.
    was_cut_off: bool,
    pub receipt: R,
}

impl<R: Receipt> From<Arrived<R>> for Arriving<R> {
    fn from(arrived: Arrived<R>) -> Arriving<R> {
        let Arrived { message, on_bus, published_at, first_error, alien, apart, receipt } = arrived;
        let was_cut_off = on_bus > 1 && first_error.is_none();
        let first_error = first_error.or_else(|| message.header(FIRST_ERROR).map(str::to_owned));
        let attempt = message.earlier_attempts().saturating_add(on_bus);
        let delivery = Delivery { message, attempt, published_at, ending: receipt.ending() };
        Arriving { delivery, on_bus, first_error, alien, apart, was_cut_off, receipt }
    }
}

impl<R: Receipt> Arriving<R> {
    /// Whether a handler may see it together with others. What may have ended its process does so alone.
    pub fn may_join(&self, max_attempts: u32) -> bool {
        !self.alien && !self.apart && !self.was_cut_off && self.delivery.attempt <= max_attempts
    }
}

pub(super) async fn deliver<H, F, P>(worker: &Worker<H, P>, arriving: Arriving<impl Receipt>)
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
    P: Parking,
{
    let Arriving { delivery, on_bus, first_error, alien, apart, receipt, .. } = arriving;
    let attempt = delivery.attempt;
    let max_attempts = worker.spec.max_attempts;
    let whole = async {
        if apart {
            // From here on its attempts are counted for it alone.
            let step = Step::Defer { after: Duration::ZERO, why: APART.to_owned() };
            return settle(worker, step, delivery, first_error, &receipt).await;
        }
        let verdict = if alien {
            Verdict::Park { reason: ALIEN, why: "the message carries no id of ours".to_owned() }
        } else if attempt > max_attempts {
            // The process crashed during the last attempt. A message that kills its worker (a poison message) must not
            // be redelivered for ever.
            let why = format!("delivered {} times, the last time without a verdict", attempt - 1);
            Verdict::Retry { after: Duration::ZERO, why }
        } else {
            crate::failpoint::point("bus.delivered");
            match judged_at_last(worker, delivery.clone()).await {
                Some(verdict) => verdict,
                None => return receipt.give_back().await,
            }
        };
        let tries = Tries { attempt, on_bus, max_attempts, bus_has_room: receipt.has_room() };
        settle(worker, next_step(verdict, tries), delivery, first_error, &receipt).await;
    };
    // Signs of life go out beside the work, so that neither waits for the other.
    tokio::select! {
        () = whole => {}
        () = stay_alive(&receipt, worker.spec.ack_wait() / 3) => {}
    }
}

async fn stay_alive(receipt: &impl Receipt, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        receipt.keep_alive().await;
    }
}

/// Handles a delivery, again and again while the database is away for a while: an outage must not use up the attempts
/// of whatever comes meanwhile. To the handler it is another attempt, but how many there were does not tell how long
/// anything else took. Nothing when the process ends first.
pub(super) async fn judged_at_last<H, F, P>(worker: &Worker<H, P>, mut delivery: Delivery) -> Option<Verdict>
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Verdict>,
{
    let until = tokio::time::Instant::now() + AWAY_MAX;
    let mut pause = HANDLED_AGAIN;
    loop {
        let verdict = judged(worker, delivery.clone()).await;
        let Verdict::Unavailable { why } = &verdict else { return Some(verdict) };
        worker.cut_off.send_if_modified(|cut_off| !std::mem::replace(cut_off, true));
        if tokio::time::Instant::now() >= until {
            return Some(verdict);
        }
        tracing::info!(consumer = %worker.name, id = %delivery.message.id, why, "a delivery waits for the database");
        worker.cancel.run_until_cancelled(tokio::time::sleep(pause)).await?;
        pause = (pause * 2).min(MAX_BUS_DELAY);
        // It may have done a part of its work.
        delivery.attempt = delivery.attempt.max(2);
    }
}

async fn judged<H, F, P>(worker: &Worker<H, P>, delivery: Delivery) -> Verdict
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Verdict>,
{
    let id = delivery.message.id;
    let handling = AssertUnwindSafe(async { (worker.handler)(delivery).await }).catch_unwind();
    // Without an end to it, signs of life would keep the delivery from every other process for as long as this one
    // lives. Stopping a handler is a crash to it, and every handler survives a crash at any point.
    match tokio::time::timeout(worker.spec.max_handling(), handling).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_)) => {
            // What the panic says may quote the message; the panic hook has it, rows and events do not.
            tracing::error!(consumer = %worker.name, %id, "a handler panicked");
            metrics::counter!("wxpay_bus_panics_total", "consumer" => worker.name.to_string()).increment(1);
            Verdict::Retry { after: AFTER_PANIC, why: PANIC.to_owned() }
        }
        Err(_) => {
            tracing::error!(consumer = %worker.name, %id, "a handler hung and was stopped");
            metrics::counter!("wxpay_bus_stuck_total", "consumer" => worker.name.to_string()).increment(1);
            Verdict::Retry { after: AFTER_PANIC, why: STUCK.to_owned() }
        }
    }
}

pub(super) async fn settle<H, P: Parking>(
    worker: &Worker<H, P>,
    step: Step,
    delivery: Delivery,
    first_error: Option<String>,
    receipt: &impl Receipt,
) {
    let Delivery { message, attempt, published_at, .. } = delivery;
    let outcome = match step {
        Step::Ack => {
            receipt.ack().await;
            crate::failpoint::point("bus.acked");
            "done"
        }
        Step::Wait { after, why } => {
            tracing::info!(consumer = %worker.name, id = %message.id, attempt, why, "a delivery is tried again");
            receipt.wait(after, &first_error.unwrap_or_else(|| one_line(&why))).await;
            crate::failpoint::point("bus.put_off");
            "waiting"
        }
        Step::Defer { after, why } => {
            let why = one_line(&why);
            tracing::info!(consumer = %worker.name, id = %message.id, attempt, why, "a delivery is deferred");
            let deferred = Deferred {
                message: message.after_attempts(attempt, &first_error.unwrap_or_else(|| why.clone())),
                consumer: worker.name.clone(),
                attempts: attempt,
                due_in: after,
                why,
            };
            let durable = hand_over(worker, receipt, "bus.deferred", Leaving::Deferred(deferred)).await;
            if durable { "deferred" } else { "given_back" }
        }
        Step::Park { reason, why } => {
            let last_error = one_line(&why);
            let (consumer, id) = (&worker.name, message.id);
            tracing::warn!(%consumer, %id, attempt, reason, last_error, "a message is parked");
            let parked = Parked {
                message,
                consumer: worker.name.clone(),
                reason,
                first_error: first_error.unwrap_or_else(|| last_error.clone()),
                last_error,
                attempts: attempt,
                published_at,
            };
            let durable = hand_over(worker, receipt, "bus.parked", Leaving::Parked(parked)).await;
            if durable { "parked" } else { "given_back" }
        }
    };
    metrics::counter!("wxpay_bus_deliveries_total", "consumer" => worker.name.to_string(), "outcome" => outcome)
        .increment(1);
}

/// Repeats until the row is durable, then acknowledges. While the database is away the delivery is kept alive rather
/// than given back: giving it back would only count attempts. On shutdown it is given back. `point` lies between the
/// row and the acknowledgement.
///
/// What the database will never take as it is, is handed over once more in plain texts. If that is refused too, the bus
/// keeps it and delivers it again later: a person has to see to the database, and meanwhile it takes no worker's place.
/// Tells whether the row is durable.
async fn hand_over<H, P: Parking>(
    worker: &Worker<H, P>,
    receipt: &impl Receipt,
    point: &'static str,
    mut leaving: Leaving,
) -> bool {
    let mut pause = Duration::from_millis(100);
    let mut plain = false;
    let consumer = &worker.name;
    loop {
        match leaving.clone().store(worker.parking.as_ref()).await {
            Ok(()) => {
                crate::failpoint::point(point);
                receipt.ack().await;
                return true;
            }
            Err(e @ ParkingError::Unavailable(_)) => {
                tracing::warn!(%consumer, error = %e, "the database does not take a delivery yet");
            }
            Err(e @ ParkingError::Impossible(_)) if !plain => {
                tracing::error!(%consumer, error = %e, "the database refuses a delivery; retried in plain ASCII");
                leaving = leaving.plain();
                plain = true;
                continue;
            }
            Err(e @ ParkingError::Impossible(_)) => {
                tracing::error!(%consumer, error = %e, "the database refuses a delivery for good; the bus keeps it");
                receipt.wait(MAX_BUS_DELAY, leaving.last_error()).await;
                return false;
            }
        }
        tokio::select! {
            () = worker.cancel.cancelled() => {
                receipt.give_back().await;
                return false;
            }
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
        }
    }
}

//! The consumer loop: takes as many messages as there are free workers (backpressure), runs the handler, and maps its
//! verdict to an acknowledgement, a delayed redelivery, a deferral or a dead letter. The same for both buses.
//!
//! What must stay true: no delivery is acknowledged before its end is durable, wherever that is (the handler's own
//! effects, the deferred row, the dead letter); never more than `concurrency` handlers run; a panic or a handler that
//! hangs is one failed attempt and not the end of the loop.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::dead_letter::{Deferred, Leaving, Parked, Parking, ParkingError};
use super::message::{Delivery, one_line};
use super::subscription::{Arrived, Receipt, Source};
use super::topology::{ConsumerName, ConsumerSpec};
use super::verdict::{ALIEN, AWAY_MAX, MAX_BUS_DELAY, PANIC, STUCK, Step, Tries, Verdict, next_step};

/// How long a message waits after its handler panicked or was stopped.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// Poll interval for the database to become available again before more messages are taken.
const DATABASE_POLL: Duration = Duration::from_millis(500);

/// How long until a message is handled again while the database is away: at first, growing.
const HANDLED_AGAIN: Duration = Duration::from_millis(100);

pub(super) struct Worker<H, P> {
    pub name: ConsumerName,
    pub spec: ConsumerSpec,
    pub handler: H,
    pub parking: Arc<P>,
    pub cancel: CancellationToken,
    /// A handler said that the database is away: nothing more is taken before it is seen, because another process may
    /// reach it.
    cut_off: watch::Sender<bool>,
}

impl<H, P> Worker<H, P> {
    pub fn new(
        name: ConsumerName,
        spec: ConsumerSpec,
        handler: H,
        parking: Arc<P>,
        cancel: CancellationToken,
    ) -> Worker<H, P> {
        Worker { name, spec, handler, parking, cancel, cut_off: watch::Sender::new(false) }
    }
}

impl<H, P: Parking> Worker<H, P> {
    /// Checks whether the database is available, and pauses if it is not.
    async fn wait_for_the_database(&self) {
        match tokio::time::timeout(MAX_BUS_DELAY, self.parking.is_there()).await {
            Ok(true) => self.cut_off.send_modify(|cut_off| *cut_off = false),
            Ok(false) | Err(_) => tokio::time::sleep(DATABASE_POLL).await,
        }
    }
}

/// Works until cancelled, then lets the running handlers finish.
pub(super) async fn work<H, F, P>(worker: Arc<Worker<H, P>>, mut source: impl Source, concurrency: usize)
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
    P: Parking,
{
    let concurrency = concurrency.max(1);
    let mut running: JoinSet<()> = JoinSet::new();
    let mut cut_off = worker.cut_off.subscribe();
    loop {
        while running.try_join_next().is_some() {}
        let free = concurrency - running.len();
        if *worker.cut_off.borrow() {
            match worker.cancel.run_until_cancelled(worker.wait_for_the_database()).await {
                Some(()) => continue,
                None => break,
            }
        }
        tokio::select! {
            biased;
            () = worker.cancel.cancelled() => break,
            // The sender is the worker's own and lives as long as it does.
            _ = cut_off.wait_for(|cut_off| *cut_off) => {}
            Some(_) = running.join_next(), if !running.is_empty() => {}
            arrived = source.take(free), if free > 0 => {
                for one in arrived {
                    running.spawn(deliver(Arc::clone(&worker), one));
                }
            }
        }
    }
    source.close().await;
    while running.join_next().await.is_some() {}
}

async fn deliver<H, F, P>(worker: Arc<Worker<H, P>>, arrived: Arrived<impl Receipt>)
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
    P: Parking,
{
    let Arrived { message, on_bus, published_at, first_error, alien, receipt } = arrived;
    let first_error = first_error.or_else(|| message.header(super::message::FIRST_ERROR).map(str::to_owned));
    let attempt = message.earlier_attempts().saturating_add(on_bus);
    let delivery = Delivery { message, attempt, published_at };
    let max_attempts = worker.spec.max_attempts;
    let whole = async {
        let verdict = if alien {
            Verdict::Park { reason: ALIEN, why: "the message carries no id of ours".to_owned() }
        } else if attempt > max_attempts {
            // The process crashed during the last attempt. A message that kills its worker (a poison message) must not
            // be redelivered for ever.
            let why = format!("delivered {} times, the last time without a verdict", attempt - 1);
            Verdict::Retry { after: Duration::ZERO, why }
        } else {
            crate::failpoint::point("bus.delivered");
            match judged_at_last(&worker, delivery.clone()).await {
                Some(verdict) => verdict,
                None => return receipt.give_back().await,
            }
        };
        let tries = Tries { attempt, on_bus, max_attempts, bus_has_room: receipt.has_room() };
        settle(&worker, next_step(verdict, tries), delivery, first_error, &receipt).await;
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
async fn judged_at_last<H, F, P>(worker: &Worker<H, P>, mut delivery: Delivery) -> Option<Verdict>
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

async fn settle<H, P: Parking>(
    worker: &Worker<H, P>,
    step: Step,
    delivery: Delivery,
    first_error: Option<String>,
    receipt: &impl Receipt,
) {
    let Delivery { message, attempt, published_at } = delivery;
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

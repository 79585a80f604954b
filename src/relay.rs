//! The relay: takes events out of the outbox and puts them on the bus.
//!
//! One relay works at a time, under a lease. An event is published with its own id as the message id and marked afterwards:
//! a relay that dies in between publishes it again, and the bus or the consumer drops the repeat by its id. Two events of one
//! order are never on their way at once, so their order holds. The HTTP feed does not wait for the bus: an event is in it
//! as soon as it has its position.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, Message, PublishError};
use crate::clock::Clock;
use crate::ids::EventId;
use crate::store::{DbError, FeedEvent, Fenced, Lease, Store};

const LEASE: &str = "relay";
const LEASE_TTL: Duration = Duration::from_secs(10);
/// Events of one round.
const BATCH: u64 = 512;
/// How often the outbox is looked at when nothing in this process says that it changed.
const IDLE: Duration = Duration::from_millis(100);
/// After a fault of the database or the bus.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Store(#[from] DbError),
    #[error(transparent)]
    Bus(#[from] PublishError),
    #[error("an outbox row has no valid id")]
    Id,
}

enum Round {
    /// Something was relayed; there may be more.
    Busy,
    /// Nothing to do.
    Idle,
    /// Somebody else is the relay.
    NotMine,
}

/// Relays until cancelled, then gives the lease back.
pub async fn run(store: Store, bus: Bus, clock: Clock, holder: String, cancel: CancellationToken) {
    let mut commits = store.commits();
    let mut lease = None;
    loop {
        commits.borrow_and_update();
        let pause = match round(&store, &bus, &clock, &holder, &mut lease).await {
            Ok(Round::Busy) => Duration::ZERO,
            Ok(Round::Idle | Round::NotMine) => IDLE,
            Err(e) => {
                tracing::warn!(error = %e, "events wait for the bus or the database");
                AFTER_FAULT
            }
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
            _ = commits.changed(), if pause == IDLE => {}
        }
    }
    if let Some((lease, _)) = lease
        && let Err(e) = store.release(&lease).await
    {
        tracing::info!(error = %e, "the relay's lease runs out by itself");
    }
}

type Held = Option<(Lease, std::time::Instant)>;

async fn round(store: &Store, bus: &Bus, clock: &Clock, holder: &str, held: &mut Held) -> Result<Round, RelayError> {
    let Some(lease) = keep(store, holder, held).await? else { return Ok(Round::NotMine) };
    let Fenced::Done(placed) = store.place_events(&lease, i64::try_from(BATCH).unwrap_or(i64::MAX)).await? else {
        *held = None;
        return Ok(Round::NotMine);
    };
    if placed > 0 {
        crate::crash::point("relay.placed");
    }
    let events = store.unrelayed_events(BATCH).await?;
    let Some(last) = events.last().map(|e| e.position) else {
        return Ok(if placed > 0 { Round::Busy } else { Round::Idle });
    };
    crate::crash::point("relay.selected");
    for wave in waves(events) {
        try_join_all(wave.into_iter().map(|m| async { bus.publish(m?).await.map_err(RelayError::from) })).await?;
    }
    crate::crash::point("relay.published");
    if store.mark_relayed(&lease, last, clock.now()).await? == Fenced::Lost {
        *held = None;
        return Ok(Round::NotMine);
    }
    crate::crash::point("relay.marked");
    Ok(Round::Busy)
}

/// Renews the lease when a third of its life is over; takes it when nobody has it.
async fn keep(store: &Store, holder: &str, held: &mut Held) -> Result<Option<Lease>, DbError> {
    if let Some((lease, since)) = held
        && since.elapsed() < LEASE_TTL / 3
    {
        return Ok(Some(lease.clone()));
    }
    let taken = std::time::Instant::now();
    *held = store.lease(LEASE, holder, LEASE_TTL).await?.map(|lease| (lease, taken));
    Ok(held.as_ref().map(|(lease, _)| lease.clone()))
}

/// Groups of messages that may travel at once: no order twice in one.
fn waves(events: Vec<FeedEvent>) -> Vec<Vec<Result<Message, RelayError>>> {
    let mut waves = vec![Vec::new()];
    let mut orders = HashSet::new();
    for event in events {
        let order = event.order_no.clone();
        if order.as_ref().is_some_and(|o| orders.contains(o)) {
            orders.clear();
            waves.push(Vec::new());
        }
        orders.extend(order);
        if let Some(wave) = waves.last_mut() {
            wave.push(message(event));
        }
    }
    waves
}

fn message(event: FeedEvent) -> Result<Message, RelayError> {
    let id = EventId::parse(&event.event_id).map_err(|_| RelayError::Id)?;
    Ok(Message { subject: event.subject, id, payload: event.payload.into_bytes(), headers: Vec::new() })
}

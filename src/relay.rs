//! The relay: gives events their position in the feed that were committed without, and publishes all on the bus.
//!
//! Each is done by one process at a time, under a lease of its own, which is taken only when there is something to do;
//! a process that cannot do it gives the lease back. Noting the feed's last position needs none: it only grows. Neither
//! waits for the other: the HTTP feed has an event as soon as it has its position, whatever the bus is doing. An event
//! is published with its own id as the message id and marked afterwards: a relay that dies in between publishes it
//! again, and the bus or the consumer drops the repeat by its id. Two events of one order are never on their way at
//! once, so their order holds. A process that was paused for longer than the bus knows ids would store an older event
//! again behind newer ones: events that may travel at once are published only where the lease was held a moment ago.
//! Nothing outside subscribes to the embedded bus: there an event is written as relayed with its position, and what was
//! committed without, or by a process with another bus, is only marked.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, Message, PublishError};
use crate::clock::Clock;
use crate::ids::EventId;
use crate::store::{DbError, DbKind, FeedEvent, Fenced, Lease, Store};

/// Events of one round.
const BATCH: u64 = 512;
/// Poll interval of the outbox where nothing is noticed of other processes' commits, or another one has the lease.
const IDLE: Duration = Duration::from_millis(100);
/// Between two rounds that found less than a whole batch: under load each would otherwise take a few rows, with a
/// transaction and a sync of its own.
const PACE: Duration = Duration::from_millis(10);
/// How often the feed's row is compared with its events.
const NOTE: Duration = Duration::from_secs(1);
/// After a fault of the database or the bus. Much longer than [`IDLE`]: the lease is given back, and a process that can
/// do the work has it by then.
const AFTER_FAULT: Duration = Duration::from_secs(1);
/// How long a check of the lease counts for events that follow. The bus knows an id for minutes, so what is published
/// so shortly after a check is dropped as known if another process published it, too. The clock goes on while a process
/// is stopped; where it stands still with its host, the first check after each selection catches what slept before.
const CHECKED_FOR: Duration = Duration::from_secs(1);

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Store(#[from] DbError),
    #[error(transparent)]
    Bus(#[from] PublishError),
}

/// What a round did.
enum Round {
    /// A whole batch; there may be more.
    Busy,
    /// All there was.
    Some,
    /// Nothing to do.
    Idle,
    /// Another process holds the lease.
    NotMine,
}

/// Works until cancelled, then gives the leases back.
pub async fn run(store: Store, bus: Bus, clock: Clock, lease_for: Duration, holder: String, cancel: CancellationToken) {
    let part = |work| Leased {
        work,
        store: &store,
        bus: &bus,
        clock: &clock,
        lease_for,
        holder: &holder,
        held: None,
        noted: None,
        is_unnoted: false,
    };
    tokio::join!(part(Work::Feed).run(&cancel), part(Work::Relay).run(&cancel));
}

/// What one process at a time does.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Giving events their position that were committed without.
    Feed,
    /// Publishing them on the bus.
    Relay,
}

impl Work {
    const fn name(self) -> &'static str {
        match self {
            Work::Feed => "feed",
            Work::Relay => "relay",
        }
    }
}

struct Leased<'a> {
    work: Work,
    store: &'a Store,
    bus: &'a Bus,
    clock: &'a Clock,
    /// How long a lease outlives its last renewal.
    lease_for: Duration,
    holder: &'a str,
    held: Option<(Lease, Instant)>,
    /// When the feed's row was last compared with its events.
    noted: Option<Instant>,
    /// Whether a round came too soon for that.
    is_unnoted: bool,
}

impl Leased<'_> {
    async fn run(mut self, cancel: &CancellationToken) {
        let mut commits = self.store.commits();
        let mut polls = self.store.db().polls();
        loop {
            commits.borrow_and_update();
            polls.begin();
            let round = self.round().await;
            let is_idle = matches!(round, Ok(Round::Idle | Round::NotMine));
            match round {
                Ok(Round::Busy) => polls.after(Duration::ZERO),
                Ok(Round::Some) => polls.after(PACE),
                Ok(Round::Idle) => polls.idle(IDLE, self.note_in()),
                // The lease of a process that died ends by itself.
                Ok(Round::NotMine) => polls.after(IDLE),
                Err(e) => {
                    tracing::warn!(work = self.work.name(), error = %e, "events wait for the bus or the database");
                    self.give_back().await;
                    polls.after(AFTER_FAULT);
                }
            }
            let next_commit = async {
                tokio::time::sleep(PACE).await;
                commits.changed().await
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                () = polls.next() => {}
                _ = next_commit, if is_idle && self.wakes_by_commits() => {}
            }
        }
        self.give_back().await;
    }

    /// Whether a commit is worth a round at once: not where each gives positions itself, and not where it marks its
    /// events itself. Another version's may do neither: what the probe notices is worth a round at [`IDLE`].
    fn wakes_by_commits(&self) -> bool {
        match self.work {
            Work::Feed => self.store.db().kind() == DbKind::Postgres,
            Work::Relay => self.bus.has_outside_subscribers(),
        }
    }

    /// In how long the feed's row is compared with its events, where the last round came too soon for it.
    fn note_in(&self) -> Option<Duration> {
        self.noted.filter(|_| self.is_unnoted).map(|at| NOTE.saturating_sub(at.elapsed()))
    }

    async fn give_back(&mut self) {
        if let Some((lease, _)) = self.held.take()
            && let Err(e) = self.store.release(&lease).await
        {
            tracing::info!(work = self.work.name(), error = %e, "the lease runs out by itself");
        }
    }

    async fn round(&mut self) -> Result<Round, RelayError> {
        if matches!(self.work, Work::Feed) {
            self.is_unnoted = self.noted.is_some_and(|at| at.elapsed() < NOTE);
            if !self.is_unnoted {
                self.store.note_feed_end().await?;
                self.noted = Some(Instant::now());
            }
        }
        // A read before the lease: taking or checking one is a write.
        let waiting = match self.work {
            Work::Feed => self.store.has_unplaced_events().await?,
            Work::Relay => self.store.has_unrelayed_events().await?,
        };
        if !waiting {
            return Ok(Round::Idle);
        }
        let Some(lease) = self.keep().await? else { return Ok(Round::NotMine) };
        let done = match self.work {
            Work::Feed => place(self.store, &lease).await?,
            Work::Relay if self.bus.has_outside_subscribers() => self.relay_some(&lease).await?,
            Work::Relay => mark_all(self.store, self.clock, &lease).await?,
        };
        if matches!(done, Round::NotMine) {
            self.held = None;
        }
        Ok(done)
    }

    /// Renews the lease when a third of its life is over; acquires it when no process holds it.
    async fn keep(&mut self) -> Result<Option<Lease>, DbError> {
        if let Some((lease, since)) = &self.held
            && since.elapsed() < self.lease_for / 3
        {
            return Ok(Some(lease.clone()));
        }
        let taken = Instant::now();
        self.held = self.store.lease(self.work.name(), self.holder, self.lease_for).await?.map(|lease| (lease, taken));
        Ok(self.held.as_ref().map(|(lease, _)| lease.clone()))
    }

    async fn relay_some(&mut self, lease: &Lease) -> Result<Round, RelayError> {
        let events = self.store.unrelayed_events(BATCH).await?;
        let Some(last) = events.last().map(|e| e.position) else { return Ok(Round::Idle) };
        let is_whole = events.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX);
        crate::failpoint::point("relay.selected");
        let mut checked: Option<Instant> = None;
        for wave in waves(events) {
            if checked.is_none_or(|at| at.elapsed() >= CHECKED_FOR) {
                // Before the check, which may take long.
                checked = Some(Instant::now());
                if !self.still_holds(lease).await? {
                    tracing::info!(work = self.work.name(), "another process took over: the rest is left to it");
                    return Ok(Round::NotMine);
                }
            }
            try_join_all(wave.into_iter().map(|event| publish(self.bus, event))).await?;
        }
        crate::failpoint::point("relay.published");
        if self.store.mark_relayed(lease, last, self.clock.now()).await? == Fenced::Lost {
            return Ok(Round::NotMine);
        }
        crate::failpoint::point("relay.marked");
        Ok(if is_whole { Round::Busy } else { Round::Some })
    }

    /// Whether no other process has had the lease since it was taken; renews it where that is due. The database says
    /// so, not the time of the last renewal: the clocks of a host that was suspended may have stood still.
    async fn still_holds(&mut self, lease: &Lease) -> Result<bool, DbError> {
        Ok(self.keep().await?.as_ref() == Some(lease) && self.store.is_held(lease).await?)
    }
}

async fn place(store: &Store, lease: &Lease) -> Result<Round, RelayError> {
    let placed = match store.place_events(lease, i64::try_from(BATCH).unwrap_or(i64::MAX)).await? {
        Fenced::Lost => return Ok(Round::NotMine),
        Fenced::Done(placed) => placed,
    };
    crate::failpoint::point("relay.placed");
    Ok(match placed {
        0 => Round::Idle,
        BATCH.. => Round::Busy,
        _ => Round::Some,
    })
}

async fn mark_all(store: &Store, clock: &Clock, lease: &Lease) -> Result<Round, RelayError> {
    if store.mark_relayed(lease, i64::MAX, clock.now()).await? == Fenced::Lost {
        return Ok(Round::NotMine);
    }
    crate::failpoint::point("relay.marked");
    Ok(Round::Idle)
}

async fn publish(bus: &Bus, event: FeedEvent) -> Result<(), PublishError> {
    let Ok(id) = EventId::parse(&event.event_id) else {
        tracing::error!(event.id = event.event_id, "an event has no valid id; only the feed has it");
        return Ok(());
    };
    let payload = match event.payload {
        Ok(payload) => payload.into_bytes(),
        Err(e) => {
            // Those behind it must not wait for it.
            tracing::error!(event.id = event.event_id, error = %e, "an event cannot be read and is not published");
            return Ok(());
        }
    };
    let message = Message { subject: event.subject, id, payload, headers: Vec::new() };
    match bus.publish(message).await {
        // It will never be accepted, and those behind it must not wait for it. The feed has it.
        Err(e @ (PublishError::TooLarge | PublishError::Misdirected(_))) => {
            let id = event.event_id;
            tracing::error!(event.id = id, error = %e, "an event cannot be published; only the feed has it");
            Ok(())
        }
        outcome => outcome,
    }
}

/// Groups of events that may travel at once: no order twice in one.
fn waves(events: Vec<FeedEvent>) -> Vec<Vec<FeedEvent>> {
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
            wave.push(event);
        }
    }
    waves
}

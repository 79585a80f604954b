//! The loop of the process that works on replays.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::item;
use super::item::{Handled, Work, handle};
use crate::bus::Bus;
use crate::clock::Timestamp;
use crate::store::{DbError, Fenced, Lease, Replay, ReplayMark, WebhookDelivery, WebhookEndpoint};
use crate::webhooks;
use crate::worker::core::context::Context;

const LEASE: &str = "replay";
/// Items that are read together.
const BATCH: u64 = 100;
/// Replays that are read together, where the ones before have to wait.
const REPLAYS: u64 = 16;
/// How often in a row a robot may take no message because it has got too many, before its items fail.
const PUT_OFFS: u32 = 10;
/// How soon a replay that was started is noticed, and what waits for a time.
const IDLE: Duration = Duration::from_millis(500);
/// After a fault of the database or the bus; the lease is given back meanwhile.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// What a round did.
enum Round {
    /// Something; there may be more.
    Busy,
    /// Nothing to do here; another process may have the lease.
    Idle,
    /// No replay is running.
    Nothing,
    /// What is left of a replay goes to endpoints that get no message yet.
    Resting,
}

/// Works on replays until cancelled, then gives the lease back.
pub async fn run(
    ctx: Context,
    (bus, webhooks): (Bus, webhooks::Maker),
    lease_for: Duration,
    holder: String,
    cancel: CancellationToken,
) {
    let mut polls = ctx.store.db().polls();
    let mut runner = Runner {
        ctx,
        bus,
        webhooks,
        lease_for,
        holder,
        cancel: cancel.clone(),
        held: None,
        last: None,
        resting: HashMap::new(),
        waiting: HashMap::new(),
        put_offs: HashMap::new(),
    };
    loop {
        polls.begin();
        match runner.round().await {
            Ok(Round::Busy) => polls.after(Duration::ZERO),
            Ok(Round::Idle | Round::Resting) => polls.after(IDLE),
            Ok(Round::Nothing) => polls.idle(IDLE, None),
            Err(e) => {
                tracing::warn!(error = %e, "a replay waits for the database or the bus");
                runner.give_back().await;
                polls.after(AFTER_FAULT);
            }
        }
        if cancel.run_until_cancelled(polls.next()).await.is_none() {
            break;
        }
    }
    runner.give_back().await;
}

/// Why a round ended early: it is repeated.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Store(#[from] DbError),
    #[error("{0}")]
    Unavailable(String),
}

struct Runner {
    ctx: Context,
    bus: Bus,
    webhooks: webhooks::Maker,
    lease_for: Duration,
    holder: String,
    cancel: CancellationToken,
    held: Option<(Lease, Instant)>,
    /// When the last item began.
    last: Option<tokio::time::Instant>,
    /// Endpoints that get no message about several events before then.
    resting: HashMap<String, Timestamp>,
    /// Replays of which nothing is left but deliveries to these, until the first of them gets one.
    waiting: HashMap<String, Timestamp>,
    /// How often in a row these endpoints took no message because they had got too many.
    put_offs: HashMap<String, u32>,
}

impl Runner {
    async fn round(&mut self) -> Result<Round, RunError> {
        let now = self.ctx.clock.now();
        self.resting.retain(|_, until| *until > now);
        self.waiting.retain(|_, until| *until > now);
        let waiting: Vec<String> = self.waiting.keys().cloned().collect();
        let replays = self.ctx.store.running_replays(&waiting, REPLAYS).await?;
        if replays.is_empty() {
            if waiting.is_empty() {
                self.put_offs.clear();
                self.give_back().await;
                return Ok(Round::Nothing);
            }
            return Ok(Round::Idle);
        }
        for replay in &replays {
            match self.work(replay).await? {
                // What is left of it has to wait: the next one does not.
                Round::Resting => {
                    let until = self.resting.values().min().copied().unwrap_or(now);
                    self.waiting.insert(replay.id.clone(), until);
                }
                other => return Ok(other),
            }
        }
        // All of them wait: there may be more behind them.
        Ok(if replays.len() as u64 >= REPLAYS { Round::Busy } else { Round::Idle })
    }

    async fn work(&mut self, replay: &Replay) -> Result<Round, RunError> {
        let store = self.ctx.store.clone();
        let Some(lease) = self.keep().await? else { return Ok(Round::Idle) };
        let resting: Vec<String> = self.resting.keys().cloned().collect();
        let items = store.open_replay_items(&replay.id, &resting, BATCH).await?;
        if items.is_empty() {
            if !resting.is_empty() && !store.open_replay_items(&replay.id, &[], 1).await?.is_empty() {
                return Ok(Round::Resting);
            }
            return Ok(self.unless_lost(store.finish_replay(&lease, &replay.id, self.ctx.clock.now()).await?));
        }
        for work in item::gathered(&store, replay, items).await? {
            if !self.paced(replay).await {
                return Ok(Round::Idle);
            }
            let Some(lease) = self.keep().await? else { return Ok(Round::Idle) };
            if !store.is_replay_running(&replay.id).await? {
                return Ok(Round::Busy);
            }
            let item = match work {
                Work::One(item) => item,
                Work::Together(endpoint, items) => {
                    self.tell(endpoint, items).await?;
                    continue;
                }
            };
            let mark = item::mark(replay, &item);
            let result = match handle(&self.ctx, (&self.bus, &self.webhooks), &mark).await? {
                Handled::Written if self.has_rested() => break,
                Handled::Written => continue,
                Handled::Result(result) => result,
                Handled::Unavailable(why) => return Err(RunError::Unavailable(why)),
                Handled::Rests(endpoint, until) => {
                    self.resting.insert(endpoint, until);
                    continue;
                }
            };
            let written = store.finish_replay_item(&lease, &mark, &result, self.ctx.clock.now()).await?;
            if let Round::Idle = self.unless_lost(written) {
                return Ok(Round::Idle);
            }
            if self.has_rested() {
                break;
            }
        }
        Ok(Round::Busy)
    }

    /// One message about items to an endpoint, which then gets none for a while.
    async fn tell(
        &mut self,
        endpoint: WebhookEndpoint,
        items: Vec<(WebhookDelivery, ReplayMark)>,
    ) -> Result<(), DbError> {
        let so_far = self.put_offs.get(&endpoint.id).copied().unwrap_or_default();
        let end = self.webhooks.replayed_together(&endpoint, items, so_far < PUT_OFFS).await?;
        match end.is_put_off {
            Some(true) => {
                self.put_offs.insert(endpoint.id.clone(), so_far.saturating_add(1));
            }
            Some(false) => {
                self.put_offs.remove(&endpoint.id);
            }
            None => {}
        }
        self.resting.insert(endpoint.id, end.until);
        Ok(())
    }

    /// Whether an endpoint that rested may get a message again: it gets few, and must not miss one.
    fn has_rested(&self) -> bool {
        let now = self.ctx.clock.now();
        self.resting.values().any(|until| *until <= now)
    }

    fn unless_lost(&mut self, written: Fenced<()>) -> Round {
        match written {
            Fenced::Done(()) => Round::Busy,
            Fenced::Lost => {
                self.held = None;
                Round::Idle
            }
        }
    }

    /// Waits until the next item may begin. `false`: the process ends.
    async fn paced(&mut self, replay: &Replay) -> bool {
        let between = Duration::from_secs(1) / replay.rate_per_second;
        if let Some(last) = self.last
            && self.cancel.run_until_cancelled(tokio::time::sleep_until(last + between)).await.is_none()
        {
            return false;
        }
        self.last = Some(tokio::time::Instant::now());
        !self.cancel.is_cancelled()
    }

    /// Renews the lease when a third of its life is over; acquires it when no process holds it.
    async fn keep(&mut self) -> Result<Option<Lease>, DbError> {
        if let Some((lease, since)) = &self.held
            && since.elapsed() < self.lease_for / 3
        {
            return Ok(Some(lease.clone()));
        }
        let taken = Instant::now();
        let lease = self.ctx.store.lease(LEASE, &self.holder, self.lease_for).await?;
        self.held = lease.map(|lease| (lease, taken));
        Ok(self.held.as_ref().map(|(lease, _)| lease.clone()))
    }

    async fn give_back(&mut self) {
        if let Some((lease, _)) = self.held.take()
            && let Err(e) = self.ctx.store.release(&lease).await
        {
            tracing::info!(error = %e, "the lease of replays runs out by itself");
        }
    }
}

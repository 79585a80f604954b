//! The dispatcher: one process at a time makes deliveries of the feed and sends what is due, under the lease
//! `webhooks`.
//!
//! Each endpoint has slots of its own: an endpoint that is slow, or all of whose events fail, takes none of another's.
//! What is being sent is claimed in the database, so that neither the process that takes the lease over nor a replay
//! sends it at the same time; the claim of a process that died ends by itself. Nothing here waits for a receiver.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attempt::{Claimed, Maker};
use super::schedule::pause_between;
use crate::clock::Timestamp;
use crate::store::{DbError, EndpointFormat, Fenced, LONGEST_PAUSE, Lease, WebhookDelivery, WebhookEndpoint};

const LEASE: &str = "webhooks";
/// Messages on their way to one endpoint at once.
const SLOTS: usize = 8;
/// Events that one message is about at most.
const TOGETHER: usize = 100;
/// An endpoint with so many pending deliveries gets no more of the feed until some have ended.
const MAX_PENDING: u64 = 1000;
/// How often it is checked what is due, when no commit wakes it and something may be due by time.
const IDLE: Duration = Duration::from_millis(250);
/// After a fault of the database; the lease is given back meanwhile.
const AFTER_FAULT: Duration = Duration::from_secs(1);
/// How long answers are awaited when the process ends. What has not come by then is sent again.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Works until cancelled.
pub async fn run(maker: Maker, lease_for: Duration, holder: String, cancel: CancellationToken) {
    let mut commits = maker.store.commits();
    let mut polls = maker.store.db().polls();
    let mut dispatcher =
        Dispatcher { maker, lease_for, holder, held: None, slots: HashMap::new(), sending: JoinSet::new() };
    // No commit and no answer came since a round that found nothing.
    let mut is_quiet = false;
    loop {
        commits.borrow_and_update();
        polls.begin();
        let round = dispatcher.round(is_quiet).await;
        let is_idle = matches!(round, Ok(Round::Idle | Round::Rest));
        match round {
            Ok(Round::Busy) => polls.after(Duration::ZERO),
            Ok(Round::Idle) => polls.after(IDLE),
            Ok(Round::Rest) => polls.idle(IDLE, None),
            Err(e) => {
                tracing::warn!(error = %e, "webhooks wait for the database");
                dispatcher.give_back().await;
                polls.after(AFTER_FAULT);
            }
        }
        let has_endpoints = !dispatcher.slots.is_empty();
        is_quiet = false;
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(ended) = dispatcher.sending.join_next() => dispatcher.note(ended),
            () = polls.next() => is_quiet = is_idle,
            _ = commits.changed(), if is_idle && has_endpoints => {}
        }
    }
    dispatcher.end().await;
}

/// What a round did.
enum Round {
    /// Something; there may be more.
    Busy,
    /// Nothing; something may be due by time.
    Idle,
    /// Nothing, and there is nothing to do before a commit.
    Rest,
}

struct Dispatcher {
    maker: Maker,
    lease_for: Duration,
    holder: String,
    held: Option<(Lease, Instant)>,
    /// Of each enabled endpoint.
    slots: HashMap<String, Arc<Semaphore>>,
    sending: JoinSet<Result<(), DbError>>,
}

impl Dispatcher {
    /// Whether it may rest is found out in a quiet round: that costs a query for each endpoint.
    async fn round(&mut self, is_quiet: bool) -> Result<Round, DbError> {
        while let Some(ended) = self.sending.try_join_next() {
            self.note(ended);
        }
        let store = self.maker.store.clone();
        let endpoints = store.enabled_webhooks().await?;
        self.slots.retain(|id, _| endpoints.iter().any(|endpoint| endpoint.id == *id));
        if endpoints.is_empty() {
            return Ok(Round::Rest);
        }
        let end = store.feed_end().await?.position;
        let (mut is_busy, mut may_rest) = (false, is_quiet);
        for endpoint in endpoints {
            if endpoint.position < end && !store.has_pending_deliveries(&endpoint.id, MAX_PENDING).await? {
                let Some(lease) = self.keep().await? else { return Ok(Round::Idle) };
                match store.fan_out(&lease, &endpoint, end, self.maker.clock.now()).await? {
                    Fenced::Lost => return Ok(self.lost()),
                    Fenced::Done(moved) => is_busy |= moved > 0,
                }
            }
            // It waits for a process that has a mail server.
            if endpoint.format == EndpointFormat::Mail && !self.maker.sender.has_mail_server() {
                continue;
            }
            let slots = self.slots.entry(endpoint.id.clone()).or_insert_with(|| Arc::new(Semaphore::new(SLOTS)));
            let slots = Arc::clone(slots);
            let free = match pause_between(endpoint.format) {
                None => slots.available_permits(),
                // One message at a time, and not too many of them in a minute.
                Some(_) if slots.available_permits() < SLOTS || self.rests(&endpoint) => 0,
                Some(_) => TOGETHER,
            };
            if free == 0 {
                may_rest = false;
                continue;
            }
            let is_one_message = pause_between(endpoint.format).is_some();
            let due = store.due_deliveries(&endpoint.id, self.maker.clock.now(), (free, is_one_message)).await?;
            if due.is_empty() {
                // One of them may be due later, or its claim end.
                may_rest = may_rest && !store.has_pending_deliveries(&endpoint.id, 1).await?;
                continue;
            }
            let Some(lease) = self.keep().await? else { return Ok(Round::Idle) };
            // A replay may have sent one meanwhile.
            if is_one_message && !self.maker.begins_message(&endpoint).await? {
                may_rest = false;
                continue;
            }
            if !self.send(&lease, &endpoint, due, &slots).await? {
                return Ok(self.lost());
            }
            is_busy = true;
        }
        Ok(match (is_busy, may_rest) {
            (true, _) => Round::Busy,
            (false, true) => Round::Rest,
            (false, false) => Round::Idle,
        })
    }

    /// Claims and sends what is due; `false` where the lease is lost.
    async fn send(
        &mut self,
        lease: &Lease,
        endpoint: &WebhookEndpoint,
        due: Vec<WebhookDelivery>,
        slots: &Arc<Semaphore>,
    ) -> Result<bool, DbError> {
        let ids: Vec<i64> = due.iter().map(|delivery| delivery.id).collect();
        let claim_ms = self.maker.claim_ms(endpoint.format);
        let claimed = self.maker.store.claim_deliveries(lease, &ids, &self.holder, claim_ms).await?;
        let Fenced::Done(claimed) = claimed else { return Ok(false) };
        if endpoint.format != EndpointFormat::Events {
            let due = due.into_iter().filter(|delivery| claimed.contains(&delivery.id));
            self.tell(endpoint, due.collect(), slots);
            return Ok(true);
        }
        for delivery in due.into_iter().filter(|delivery| claimed.contains(&delivery.id)) {
            let Ok(slot) = Arc::clone(slots).try_acquire_owned() else { break };
            let claimed = Claimed { delivery, endpoint: endpoint.clone(), claim: self.holder.clone() };
            let maker = self.maker.clone();
            self.sending.spawn(async move {
                let _slot = slot;
                maker.scheduled(&claimed).await.map(drop)
            });
        }
        Ok(true)
    }

    /// Whether an endpoint was sent a message a moment ago, or the next one is a replay's. A time that is too far ahead
    /// is another clock's.
    fn rests(&self, endpoint: &WebhookEndpoint) -> bool {
        let now = self.maker.clock.now();
        let is_ahead = |at: Timestamp| now < at && at <= now.after(LONGEST_PAUSE);
        endpoint.next_message_at.is_some_and(is_ahead) || endpoint.replay_first_until.is_some_and(is_ahead)
    }

    /// One message about all of these.
    fn tell(&mut self, endpoint: &WebhookEndpoint, due: Vec<WebhookDelivery>, slots: &Arc<Semaphore>) {
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else { return };
        let (maker, endpoint, claim) = (self.maker.clone(), endpoint.clone(), self.holder.clone());
        self.sending.spawn(async move {
            let _slot = slot;
            let claimed = |delivery| Claimed { delivery, endpoint: endpoint.clone(), claim: claim.clone() };
            let claimed: Vec<Claimed> = due.into_iter().map(claimed).collect();
            maker.scheduled_together(&endpoint, &claimed).await
        });
    }

    fn note(&self, ended: Result<Result<(), DbError>, tokio::task::JoinError>) {
        match ended {
            Ok(Ok(())) => {}
            // What the receiver answered is lost: it is asked again when the claim ends.
            Ok(Err(e)) => tracing::warn!(error = %e, "an attempt at a webhook could not be written"),
            Err(e) if e.is_cancelled() => {}
            Err(e) => tracing::error!(error = %e, "an attempt at a webhook failed"),
        }
    }

    fn lost(&mut self) -> Round {
        self.held = None;
        Round::Idle
    }

    /// Renews the lease when a third of its life is over; acquires it when no process holds it.
    async fn keep(&mut self) -> Result<Option<Lease>, DbError> {
        if let Some((lease, since)) = &self.held
            && since.elapsed() < self.lease_for / 3
        {
            return Ok(Some(lease.clone()));
        }
        let taken = Instant::now();
        let lease = self.maker.store.lease(LEASE, &self.holder, self.lease_for).await?;
        self.held = lease.map(|lease| (lease, taken));
        Ok(self.held.as_ref().map(|(lease, _)| lease.clone()))
    }

    async fn give_back(&mut self) {
        if let Some((lease, _)) = self.held.take()
            && let Err(e) = self.maker.store.release(&lease).await
        {
            tracing::info!(error = %e, "the lease of webhooks runs out by itself");
        }
    }

    /// Lets another process go on, and awaits the answers that are still to come.
    async fn end(mut self) {
        self.give_back().await;
        let answered = async { while self.sending.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_ANSWERS, answered).await;
        self.sending.shutdown().await;
        if let Err(e) = self.maker.store.release_deliveries(&self.holder).await {
            tracing::info!(error = %e, "deliveries that were being sent are sent again when their claims end");
        }
    }
}

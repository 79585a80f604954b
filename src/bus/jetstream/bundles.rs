//! Deliveries that come in bundles.
//!
//! What must stay true: a bundle is acknowledged once, after each of its members has come to an end that is durable;
//! one that was delivered before is handled no more: its members become messages of their own, each with a count of
//! attempts of its own, so that one that ends its worker ends as a dead letter and holds up no other. Until it is
//! answered, the server hears that this process has it, also while its members wait for a place.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use metrics::counter;
use tokio_util::task::AbortOnDropHandle;

use super::core::Core;
use super::sending::send_alone;
use super::subscription::{Receipt, Supply};
use crate::bus::bundle;
use crate::bus::ending::Ending;
use crate::bus::message::Message;
use crate::bus::subscription::{self, Arrived, Receipt as _, Source};
use crate::bus::topology::{ConsumerSpec, StreamSpec};
use crate::telemetry::{BUS_BUNDLED_MESSAGES_TOTAL, BUS_BUNDLES_TOTAL};

/// Bundles that are asked for at once, at most.
const AHEAD: usize = 32;
/// As many members a bundle is thought to have before the first was seen.
const USUAL: usize = 16;

/// The supply of a consumer of bundles: their members.
pub(in crate::bus) struct Bundles {
    supply: Supply,
    to: Arc<Queue>,
    alive_every: Duration,
    /// What was opened and not taken.
    opened: VecDeque<Arrived<Member>>,
    /// How many members the last bundle had: as many bundles are asked for as fill the free places.
    usual: usize,
}

/// Where a member goes that becomes a message of its own.
struct Queue {
    core: Arc<Core>,
    stream: StreamSpec,
}

impl Bundles {
    pub(super) fn new(core: Arc<Core>, supply: Supply, (stream, spec): (&StreamSpec, &ConsumerSpec)) -> Bundles {
        let to = Arc::new(Queue { core, stream: stream.clone() });
        Bundles { supply, to, alive_every: spec.ack_wait() / 3, opened: VecDeque::new(), usual: USUAL }
    }

    fn open(&mut self, arrived: Arrived<Receipt>) {
        let Arrived { message, on_bus, published_at, alien, receipt, .. } = arrived;
        let members = bundle::open(&message).filter(|_| !alien);
        let is_bundle = members.is_some();
        let apart = is_bundle && on_bus > 1;
        let members: Vec<Message> = members.unwrap_or_else(|| vec![message.clone()]);
        self.usual = members.len().max(1);
        if apart {
            let (bundle, members) = (on_bus, members.len());
            tracing::warn!(deliveries = bundle, members, "a bundle comes again: its members become single messages");
        }
        let state = State { open: members.len(), again_after: None };
        let receipt = Arc::new(receipt);
        let alive = tokio::spawn(stay_alive(Arc::clone(&receipt), self.alive_every));
        let bundle = Arc::new(Bundle {
            receipt,
            alive: AbortOnDropHandle::new(alive),
            to: Arc::clone(&self.to),
            whole: is_bundle.then_some(message),
            members: members.len(),
            apart,
            state: Mutex::new(state),
        });
        if is_bundle {
            crate::failpoint::point("bus.bundle_opened");
        }
        self.opened.extend(members.into_iter().enumerate().map(|(place, message)| Arrived {
            message,
            on_bus: 1,
            published_at,
            first_error: None,
            alien: !is_bundle,
            apart,
            receipt: Member { bundle: Arc::clone(&bundle), place },
        }));
    }

    fn open_all(&mut self, arrived: Vec<Arrived<Receipt>>) {
        arrived.into_iter().for_each(|one| self.open(one));
    }

    async fn give_back(&mut self) {
        for Arrived { receipt, .. } in self.opened.drain(..) {
            receipt.give_back().await;
        }
    }
}

/// Signs of life until it is stopped: in the bundle's name, whether its members are worked on or wait.
async fn stay_alive(receipt: Arc<Receipt>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        receipt.keep_alive().await;
    }
}

impl Source for Bundles {
    type Receipt = Member;

    /// See [`crate::bus::subscription::Source::take`].
    async fn take(&mut self, free: usize) -> Vec<Arrived<Member>> {
        while self.opened.len() < free {
            let wanted = (free - self.opened.len()).div_ceil(self.usual).clamp(1, AHEAD);
            let arrived = if self.opened.is_empty() {
                self.supply.take(wanted).await
            } else {
                let Some(arrived) = self.supply.take(wanted).now_or_never() else { break };
                arrived
            };
            self.open_all(arrived);
        }
        // What has come is opened, so that the server hears that it is here.
        while let Some(arrived) = self.supply.take(0).now_or_never() {
            self.open_all(arrived);
        }
        let most = free.min(self.opened.len());
        self.opened.drain(..most).collect()
    }

    /// Nothing of what was opened waits for a database that is away.
    async fn rest(&mut self) {
        self.give_back().await;
        self.supply.rest().await;
    }

    /// See [`crate::bus::subscription::Source::close`].
    async fn close(mut self) {
        self.give_back().await;
        self.supply.close().await;
    }
}

/// A bundle that was delivered.
struct Bundle {
    receipt: Arc<Receipt>,
    alive: AbortOnDropHandle<()>,
    to: Arc<Queue>,
    /// As it came; none where it is a stranger's message.
    whole: Option<Message>,
    members: usize,
    apart: bool,
    state: Mutex<State>,
}

struct State {
    /// Members without an end.
    open: usize,
    /// None where those that have one need no further delivery; otherwise when the bundle may come again.
    again_after: Option<Duration>,
}

/// The answer to one member.
pub(in crate::bus) struct Member {
    bundle: Arc<Bundle>,
    place: usize,
}

impl subscription::Receipt for Member {
    async fn ack(&self) {
        self.end(None).await;
    }

    fn ending(&self) -> Option<Ending> {
        None
    }

    /// What cannot end here now becomes a message of its own, for which the queue waits. Only where that cannot be
    /// stored the bundle comes again, with it.
    async fn wait(&self, after: Duration, first_error: &str) {
        let alone = match self.alone(first_error) {
            Some(message) => send_alone(&self.bundle.to.core, &self.bundle.to.stream, message).await.map_err(Some),
            None => Err(None),
        };
        if let Err(Some(error)) = &alone {
            tracing::warn!(%error, "a member of a bundle is no message of its own yet");
        }
        self.end(alone.is_err().then_some(after)).await;
    }

    async fn give_back(&self) {
        self.end(Some(Duration::ZERO)).await;
    }

    /// The bundle says so for all.
    async fn keep_alive(&self) {}

    /// A member that has to wait waits in the database: in the bus it would hold the others' acknowledgement.
    fn has_room(&self) -> bool {
        false
    }
}

impl Member {
    /// The member as a message that counts this attempt; none of a stranger's.
    fn alone(&self, first_error: &str) -> Option<Message> {
        let members = self.bundle.whole.as_ref().and_then(bundle::open)?;
        members.into_iter().nth(self.place).map(|message| message.after_attempts(1, first_error))
    }

    /// Has an end. The last one answers for all.
    async fn end(&self, again_after: Option<Duration>) {
        let Bundle { receipt, alive, members, apart, state, .. } = self.bundle.as_ref();
        let again_after = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.again_after = state.again_after.max(again_after);
            state.open = state.open.saturating_sub(1);
            if state.open > 0 {
                return;
            }
            state.again_after
        };
        let outcome = match (again_after, apart) {
            (Some(_), _) => "given_back",
            (None, true) => "taken_apart",
            (None, false) => "settled",
        };
        // A sign of life after the answer would take it back.
        alive.abort();
        match again_after {
            Some(Duration::ZERO) => receipt.give_back().await,
            Some(after) => receipt.wait(after, "").await,
            None => {
                crate::failpoint::point("bus.bundle_settled");
                receipt.ack().await;
            }
        }
        counter!(BUS_BUNDLES_TOTAL, "outcome" => outcome).increment(1);
        counter!(BUS_BUNDLED_MESSAGES_TOTAL, "outcome" => outcome).increment(*members as u64);
    }
}

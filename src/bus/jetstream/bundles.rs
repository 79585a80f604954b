//! Deliveries that come in bundles.
//!
//! What must stay true: a bundle is acknowledged once, after each of its members has come to an end that is durable;
//! one that was delivered before is handled no more: its members become messages of their own, each with a count of
//! attempts of its own, so that one that ends its worker ends as a dead letter and holds up no other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::counter;
use tokio::time::Instant;

use super::subscription::{Receipt, Supply};
use crate::bus::bundle;
use crate::bus::ending::Ending;
use crate::bus::message::Message;
use crate::bus::subscription::{self, Arrived, Receipt as _, Source};
use crate::telemetry::{BUS_BUNDLED_MESSAGES_TOTAL, BUS_BUNDLES_TOTAL};

/// Bundles that are fetched at once.
const AHEAD: usize = 4;
/// Signs of life of one bundle's members are one within this time.
const ALIVE_EVERY: Duration = Duration::from_millis(200);

/// The supply of a consumer of bundles: their members.
pub(in crate::bus) struct Bundles {
    supply: Supply,
    /// What was opened and not taken.
    opened: VecDeque<Arrived<Member>>,
}

impl Bundles {
    pub(super) fn new(supply: Supply) -> Bundles {
        Bundles { supply, opened: VecDeque::new() }
    }

    fn open(&mut self, arrived: Arrived<Receipt>) {
        let Arrived { message, on_bus, published_at, alien, receipt, .. } = arrived;
        let members = bundle::open(&message).filter(|_| !alien);
        let is_bundle = members.is_some();
        let apart = is_bundle && on_bus > 1;
        let members: Vec<Message> = members.unwrap_or_else(|| vec![message]);
        if apart {
            let (bundle, members) = (on_bus, members.len());
            tracing::warn!(deliveries = bundle, members, "a bundle comes again: its members become single messages");
        }
        let state = State { open: members.len(), again_after: None, alive_at: None };
        let bundle = Arc::new(Bundle { receipt, members: members.len(), apart, state: Mutex::new(state) });
        if is_bundle {
            crate::failpoint::point("bus.bundle_opened");
        }
        self.opened.extend(members.into_iter().map(|message| Arrived {
            message,
            on_bus: 1,
            published_at,
            first_error: None,
            alien: !is_bundle,
            apart,
            receipt: Member(Arc::clone(&bundle)),
        }));
    }

    async fn give_back(&mut self) {
        for Arrived { receipt, .. } in self.opened.drain(..) {
            receipt.give_back().await;
        }
    }
}

impl Source for Bundles {
    type Receipt = Member;

    /// See [`crate::bus::subscription::Source::take`].
    async fn take(&mut self, free: usize) -> Vec<Arrived<Member>> {
        while self.opened.is_empty() {
            for arrived in self.supply.take(AHEAD.min(free)).await {
                self.open(arrived);
            }
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
    receipt: Receipt,
    members: usize,
    apart: bool,
    state: Mutex<State>,
}

struct State {
    /// Members without an end.
    open: usize,
    /// None where those that have one need no further delivery; otherwise when the bundle may come again.
    again_after: Option<Duration>,
    alive_at: Option<Instant>,
}

/// The answer to one member.
pub(in crate::bus) struct Member(Arc<Bundle>);

impl subscription::Receipt for Member {
    async fn ack(&self) {
        self.end(None).await;
    }

    fn ending(&self) -> Option<Ending> {
        None
    }

    /// The bundle comes again, with it.
    async fn wait(&self, after: Duration, _first_error: &str) {
        self.end(Some(after)).await;
    }

    async fn give_back(&self) {
        self.end(Some(Duration::ZERO)).await;
    }

    async fn keep_alive(&self) {
        let now = Instant::now();
        let is_due = {
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = state.alive_at.is_none_or(|at| now.duration_since(at) >= ALIVE_EVERY);
            state.alive_at = if is_due { Some(now) } else { state.alive_at };
            is_due
        };
        if is_due {
            self.0.receipt.keep_alive().await;
        }
    }

    /// A member that has to wait waits in the database: in the bus it would hold the others' acknowledgement.
    fn has_room(&self) -> bool {
        false
    }
}

impl Member {
    /// Has an end. The last one answers for all.
    async fn end(&self, again_after: Option<Duration>) {
        let Bundle { receipt, members, apart, state } = self.0.as_ref();
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

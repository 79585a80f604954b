//! From the publisher to a worker of the same process, past the queue: a message for which the consumer here has a free
//! worker is stored as leased by it, and handed over once it is durable. Nothing has to search for it and claim it.
//!
//! What must stay true: nothing is handed over before its transaction committed; what is handed over is leased in the
//! database like any claimed delivery, so that the work of a killed process comes again by itself; never more
//! workers are reserved than the consumer has free.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::store::queue::Claimed;

/// Where a consumer's workers say how many of them are free, and find what they got.
#[derive(Default)]
pub(super) struct Handover {
    /// Woken when something was handed over or stored for the consumer.
    pub signal: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wanted: usize,
    reserved: usize,
    ready: Vec<Claimed>,
    /// Whether something was stored for which no worker here was reserved.
    is_unclaimed: bool,
}

impl Handover {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many workers are free. Returns how many of them are not reserved.
    pub fn want(&self, free: usize) -> usize {
        let mut state = self.lock();
        state.wanted = free.saturating_sub(state.reserved + state.ready.len());
        state.wanted
    }

    /// No worker wants anything. Returns what lies here.
    pub fn rest(&self) -> Vec<Claimed> {
        let mut state = self.lock();
        state.wanted = 0;
        std::mem::take(&mut state.ready)
    }

    /// What was handed over, at most so much.
    pub fn take(&self, most: usize) -> Vec<Claimed> {
        let mut state = self.lock();
        let taken = state.ready.len().min(most);
        state.ready.drain(..taken).collect()
    }

    /// Whether something is stored that has to be claimed. Asked once.
    pub fn must_poll(&self) -> bool {
        std::mem::take(&mut self.lock().is_unclaimed)
    }

    /// Whether workers are reserved.
    pub fn is_reserved(&self) -> bool {
        self.lock().reserved > 0
    }

    /// Reserves free workers for as many of `messages`.
    pub fn reserve(self: &Arc<Handover>, messages: usize) -> Reservation {
        let mut state = self.lock();
        let count = state.wanted.min(messages);
        state.wanted -= count;
        state.reserved += count;
        drop(state);
        Reservation { handover: Arc::clone(self), count }
    }
}

/// Workers that wait for messages which are being stored. Dropped without being kept it frees them.
pub(super) struct Reservation {
    handover: Arc<Handover>,
    /// For how many messages.
    pub count: usize,
}

impl Reservation {
    /// Hands over what is durable. `others`: whether more was stored than was reserved.
    pub fn keep(self, claimed: Vec<Claimed>, others: bool) {
        let mut state = self.handover.lock();
        state.ready.extend(claimed);
        state.is_unclaimed |= others;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.handover.lock();
        state.reserved = state.reserved.saturating_sub(self.count);
        drop(state);
        self.handover.signal.notify_waiters();
    }
}

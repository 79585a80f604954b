//! The open streams of orders: at most so many in all, and of one subject the newest.
//!
//! A phone that changes its network leaves a dead stream behind, which lasts until TCP gives up, and comes back on
//! another one. The stream that comes therefore ends the oldest of its subject where there are too many: refused, a
//! page would not hear of its own payment any more. Where all places are taken, it ends the oldest of the client that
//! has the most: one client cannot keep the others out, and many payers behind one address have room while there is.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How many streams may be open in one process, and how often it is checked what opened one.
#[derive(Debug, Clone, Copy)]
pub struct StreamLimits {
    pub in_all: usize,
    /// Of one order, of those that its token opened and of those that API keys did.
    pub of_order: usize,
    /// A key is checked after so much silence of its stream.
    pub key_checked_every: Duration,
}

impl Default for StreamLimits {
    fn default() -> StreamLimits {
        StreamLimits { in_all: 1000, of_order: 4, key_checked_every: Duration::from_secs(15) }
    }
}

/// The open streams of each subject and of each client.
#[derive(Debug)]
pub struct OpenStreams<S: Eq + Hash, C: Eq + Hash> {
    limits: StreamLimits,
    open: Mutex<Open<S, C>>,
}

#[derive(Debug)]
struct Open<S, C> {
    /// The number of the next stream.
    next: u64,
    by_number: HashMap<u64, Stream<S, C>>,
    /// The numbers of each, the oldest first.
    by_subject: HashMap<S, VecDeque<u64>>,
    by_client: HashMap<C, VecDeque<u64>>,
}

#[derive(Debug)]
struct Stream<S, C> {
    subject: S,
    client: Option<C>,
    taken: CancellationToken,
}

/// A stream that counts as open until this is dropped or another takes its place.
#[derive(Debug)]
pub struct StreamPlace<S: Eq + Hash, C: Eq + Hash> {
    streams: Arc<OpenStreams<S, C>>,
    pub subject: S,
    number: u64,
    /// Cancelled when a newer stream takes the place.
    pub taken: CancellationToken,
}

impl<S: Eq + Hash + Clone, C: Eq + Hash + Clone> OpenStreams<S, C> {
    /// None is open.
    pub fn new(limits: StreamLimits) -> OpenStreams<S, C> {
        let open = Open { next: 0, by_number: HashMap::new(), by_subject: HashMap::new(), by_client: HashMap::new() };
        OpenStreams { limits, open: Mutex::new(open) }
    }

    /// A place for one more stream; none where all are taken and no client whose streams give way to it has more than
    /// this one would have. A stream without a client counts to none.
    pub fn enter(
        self: &Arc<Self>,
        subject: &S,
        client: Option<C>,
        gives_way: impl Fn(&C) -> bool,
    ) -> Option<StreamPlace<S, C>> {
        let mut open = self.lock();
        if let Some(oldest) = oldest_of_full(&open.by_subject, subject, self.limits.of_order) {
            open.end(oldest);
        }
        if open.by_number.len() >= self.limits.in_all {
            let oldest = open.oldest_of_largest(client.as_ref(), gives_way)?;
            open.end(oldest);
        }
        let (number, taken) = (open.next, CancellationToken::new());
        open.next += 1;
        open.by_subject.entry(subject.clone()).or_default().push_back(number);
        if let Some(client) = client.clone() {
            open.by_client.entry(client).or_default().push_back(number);
        }
        open.by_number.insert(number, Stream { subject: subject.clone(), client, taken: taken.clone() });
        drop(open);
        Some(StreamPlace { streams: Arc::clone(self), subject: subject.clone(), number, taken })
    }
}

impl<S: Eq + Hash, C: Eq + Hash> OpenStreams<S, C> {
    fn lock(&self) -> MutexGuard<'_, Open<S, C>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Eq + Hash, C: Eq + Hash> Open<S, C> {
    /// Ends a stream, whose place is free at once.
    fn end(&mut self, number: u64) {
        if let Some(stream) = self.remove(number) {
            stream.taken.cancel();
        }
    }

    /// The oldest stream of the client with the most, or of this one where it would have as many.
    fn oldest_of_largest(&self, client: Option<&C>, gives_way: impl Fn(&C) -> bool) -> Option<u64> {
        let own = client.and_then(|client| self.by_client.get(client));
        let would_have = own.map_or(0, VecDeque::len) + 1;
        let others = self.by_client.iter().filter(|(client, numbers)| numbers.len() > would_have && gives_way(client));
        let largest = others.map(|(_, numbers)| numbers).max_by_key(|numbers| numbers.len());
        largest.or(own)?.front().copied()
    }

    /// Nothing where the place was taken before.
    fn remove(&mut self, number: u64) -> Option<Stream<S, C>> {
        let stream = self.by_number.remove(&number)?;
        forget(&mut self.by_subject, &stream.subject, number);
        if let Some(client) = &stream.client {
            forget(&mut self.by_client, client, number);
        }
        Some(stream)
    }
}

/// The oldest stream of this key, where it has as many as it may.
fn oldest_of_full<K: Eq + Hash>(of: &HashMap<K, VecDeque<u64>>, key: &K, most: usize) -> Option<u64> {
    of.get(key).filter(|numbers| numbers.len() >= most.max(1)).and_then(|numbers| numbers.front().copied())
}

fn forget<K: Eq + Hash>(of: &mut HashMap<K, VecDeque<u64>>, key: &K, number: u64) {
    let Some(numbers) = of.get_mut(key) else { return };
    numbers.retain(|other| *other != number);
    if numbers.is_empty() {
        of.remove(key);
    }
}

impl<S: Eq + Hash, C: Eq + Hash> Drop for StreamPlace<S, C> {
    fn drop(&mut self) {
        self.streams.lock().remove(self.number);
    }
}

//! The open streams of orders: at most so many in all, and of one subject the newest.
//!
//! A phone that changes its network leaves a dead stream behind, which lasts until TCP gives up, and comes back on
//! another one. The stream that comes therefore ends the oldest of its subject where there are too many: refused, a
//! page would not hear of its own payment any more.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The open streams of each subject.
#[derive(Debug)]
pub struct OpenStreams<K: Eq + Hash> {
    most: usize,
    most_of_one: usize,
    open: Mutex<Open<K>>,
}

#[derive(Debug)]
struct Open<K> {
    in_all: usize,
    /// The number of the next stream.
    next: u64,
    /// The oldest first.
    by_subject: HashMap<K, VecDeque<(u64, CancellationToken)>>,
}

/// A stream that counts as open until this is dropped or another takes its place.
#[derive(Debug)]
pub struct StreamPlace<K: Eq + Hash> {
    streams: Arc<OpenStreams<K>>,
    pub subject: K,
    number: u64,
    /// Cancelled when a newer stream of the subject takes the place.
    pub taken: CancellationToken,
}

impl<K: Eq + Hash + Clone> OpenStreams<K> {
    /// None is open.
    pub fn new(most: usize, most_of_one: usize) -> OpenStreams<K> {
        let open = Open { in_all: 0, next: 0, by_subject: HashMap::new() };
        OpenStreams { most, most_of_one: most_of_one.max(1), open: Mutex::new(open) }
    }

    /// A place for one more stream; none where there are as many in all as may be.
    pub fn enter(self: &Arc<Self>, subject: &K) -> Option<StreamPlace<K>> {
        let mut guard = self.lock();
        let open = &mut *guard;
        let of_one = open.by_subject.get_mut(subject);
        if let Some(of_one) = of_one.filter(|of_one| of_one.len() >= self.most_of_one) {
            if let Some((_, taken)) = of_one.pop_front() {
                taken.cancel();
                open.in_all = open.in_all.saturating_sub(1);
            }
        } else if open.in_all >= self.most {
            return None;
        }
        let (number, taken) = (open.next, CancellationToken::new());
        open.next += 1;
        open.in_all += 1;
        open.by_subject.entry(subject.clone()).or_default().push_back((number, taken.clone()));
        drop(guard);
        Some(StreamPlace { streams: Arc::clone(self), subject: subject.clone(), number, taken })
    }
}

impl<K: Eq + Hash> OpenStreams<K> {
    fn lock(&self) -> MutexGuard<'_, Open<K>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for StreamPlace<K> {
    fn drop(&mut self) {
        let mut guard = self.streams.lock();
        let open = &mut *guard;
        let Some(of_one) = open.by_subject.get_mut(&self.subject) else { return };
        let before = of_one.len();
        of_one.retain(|(number, _)| *number != self.number);
        // One whose place was taken is counted no more.
        open.in_all = open.in_all.saturating_sub(before - of_one.len());
        if of_one.is_empty() {
            open.by_subject.remove(&self.subject);
        }
    }
}

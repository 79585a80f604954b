//! How much one client may cost us at WeChat.
//!
//! Counted per process: the limits keep one client from using up the shared quota, they are no accounting. A client
//! that does what an honest payer does is not counted, because many payers share one address behind a carrier's
//! gateway. What must stay true: no client can exhaust the memory, or block others, by using ever more addresses.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Subjects that are remembered in a window. Those beyond are let through uncounted: the limit would otherwise stop
/// all clients because of some.
const MOST_SUBJECTS: usize = 50_000;

/// At most so many of a kind per subject and window.
#[derive(Debug)]
pub struct Limit<K> {
    most: u32,
    window: Duration,
    spent: Mutex<Spent<K>>,
}

/// What was taken, in two parts: once a window, the newer becomes the older one. What is in the older one then began at
/// least a window ago and is dropped as a whole: nothing is ever searched for what to forget.
#[derive(Debug)]
struct Spent<K> {
    since: Instant,
    newer: HashMap<K, (Instant, u32)>,
    older: HashMap<K, (Instant, u32)>,
}

impl<K: Eq + Hash + Clone> Limit<K> {
    /// `most` per subject within `window`, which begins with the subject's first.
    pub fn new(most: u32, window: Duration) -> Limit<K> {
        let spent = Spent { since: Instant::now(), newer: HashMap::new(), older: HashMap::new() };
        Limit { most, window, spent: Mutex::new(spent) }
    }

    /// Whether there is one left; if not, says in how many seconds there is.
    pub fn check(&self, subject: &K) -> Result<(), u32> {
        let now = Instant::now();
        self.left(&self.lock(now), subject, now)
    }

    /// Takes one; if there is none left, says in how many seconds there is.
    pub fn take(&self, subject: &K) -> Result<(), u32> {
        let now = Instant::now();
        let mut spent = self.lock(now);
        self.left(&spent, subject, now)?;
        let taken = self.taken(&spent, subject, now).unwrap_or((now, 0));
        spent.older.remove(subject);
        if spent.newer.len() < MOST_SUBJECTS || spent.newer.contains_key(subject) {
            spent.newer.insert(subject.clone(), (taken.0, taken.1 + 1));
        }
        Ok(())
    }

    /// Counts one that was used up, whether or not there was one left.
    pub fn count(&self, subject: &K) {
        let _ = self.take(subject);
    }

    /// Gives back one that was taken.
    pub fn give_back(&self, subject: &K) {
        let mut spent = self.lock(Instant::now());
        if let Some((_, count)) = spent.newer.get_mut(subject) {
            *count = count.saturating_sub(1);
        }
    }

    fn left(&self, spent: &Spent<K>, subject: &K, now: Instant) -> Result<(), u32> {
        match self.taken(spent, subject, now) {
            Some((begun, count)) if count >= self.most => {
                let left = self.window.saturating_sub(now.duration_since(begun));
                Err(u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// When the subject's window began and how many it took since, unless that is over.
    fn taken(&self, spent: &Spent<K>, subject: &K, now: Instant) -> Option<(Instant, u32)> {
        let taken = spent.newer.get(subject).or_else(|| spent.older.get(subject)).copied();
        taken.filter(|(begun, _)| now.duration_since(*begun) < self.window)
    }

    fn lock(&self, now: Instant) -> MutexGuard<'_, Spent<K>> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(spent.since) >= self.window {
            spent.older = std::mem::take(&mut spent.newer);
            spent.since = now;
        }
        spent
    }
}

/// Whom an address stands for: itself, or in IPv6 the network that one subscriber has for himself.
pub fn subscriber(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
    }
}

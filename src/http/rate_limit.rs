//! At most one of a kind per interval and subject: refreshes of an order, samples of refused bodies. And at most so
//! many of a merchant's refreshes in a second, whatever they are about.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::MerchantKey;

/// More subjects than this are swept of those whose interval is over.
const SWEEP_AT: usize = 10_000;

/// Remembers when each subject was last let through.
#[derive(Debug)]
pub struct Throttle<K> {
    interval: Duration,
    last: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Throttle<K> {
    /// One per `interval` and subject.
    pub fn new(interval: Duration) -> Throttle<K> {
        Throttle { interval, last: Mutex::new(HashMap::new()) }
    }

    /// Whether `subject` may pass now; if so, it counts as passed.
    pub fn pass(&self, subject: K) -> bool {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= SWEEP_AT {
            last.retain(|_, at| now.duration_since(*at) < self.interval);
            // Still full: so much is going on that one more is better refused than remembered.
            if last.len() >= SWEEP_AT {
                return false;
            }
        }
        if last.get(&subject).is_some_and(|at| now.duration_since(*at) < self.interval) {
            return false;
        }
        last.insert(subject, now);
        true
    }
}

/// Counts each merchant's refreshes of the current second.
#[derive(Debug, Default)]
pub struct Budget(Mutex<HashMap<MerchantKey, (Instant, u32)>>);

impl Budget {
    /// Whether one more may be asked in this second; if so, it counts.
    pub fn spend(&self, merchant: &MerchantKey, per_second: u32) -> bool {
        let now = Instant::now();
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = spent.entry(merchant.clone()).or_insert((now, 0));
        if now.duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= per_second
    }
}

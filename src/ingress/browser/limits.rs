//! How much one client may cost us at WeChat.
//!
//! Counted per process: the limits keep one client from using up everybody's quota, they are no accounting. Whoever does
//! what an honest payer does gets back what was taken, because many payers share one address behind a carrier's gateway.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// More subjects than this are swept of those whose minute is over.
const SWEEP_AT: usize = 20_000;

/// At most so many of a kind per subject and window.
#[derive(Debug)]
pub struct Limit<K> {
    most: u32,
    window: Duration,
    spent: Mutex<HashMap<K, (Instant, u32)>>,
}

impl<K: Eq + Hash + Clone> Limit<K> {
    /// `most` per subject within `window`, which begins with the subject's first.
    pub fn new(most: u32, window: Duration) -> Limit<K> {
        Limit { most, window, spent: Mutex::new(HashMap::new()) }
    }

    /// Takes one; if there is none left, says in how many seconds there is.
    pub fn take(&self, subject: &K) -> Result<(), u32> {
        let now = Instant::now();
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= SWEEP_AT {
            spent.retain(|_, (begun, _)| now.duration_since(*begun) < self.window);
        }
        let full = spent.len() >= SWEEP_AT && !spent.contains_key(subject);
        let (begun, count) = spent.get(subject).copied().unwrap_or((now, 0));
        let left = self.window.saturating_sub(now.duration_since(begun));
        let (begun, count) = if left.is_zero() { (now, 0) } else { (begun, count) };
        // Too much goes on to remember one more: better refused than uncounted.
        if full || count >= self.most {
            return Err(u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1));
        }
        spent.insert(subject.clone(), (begun, count + 1));
        Ok(())
    }

    /// Gives back one that was taken.
    pub fn give_back(&self, subject: &K) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = spent.get_mut(subject) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                spent.remove(subject);
            }
        }
    }
}

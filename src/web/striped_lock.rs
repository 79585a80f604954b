//! Striped mutex keyed by payer: serialises concurrent clicks in this process; one works while the others wait.
//!
//! This is for this process alone and only spares work and limits: between processes the database decides. Subjects
//! share a fixed number of stripes, so that nothing grows with them; what is done under a lock must be short.

use std::hash::{BuildHasher, Hash, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// Enough that two payers seldom share one.
const STRIPES: usize = 256;

#[derive(Debug)]
pub struct StripedLock {
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl StripedLock {
    /// No waiters.
    pub fn new() -> StripedLock {
        StripedLock { stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(), hasher: RandomState::new() }
    }

    /// Takes the subject's lock, which is held until the guard is dropped.
    pub async fn lock<K: Hash>(&self, subject: &K) -> Option<MutexGuard<'_, ()>> {
        let stripe = usize::try_from(self.hasher.hash_one(subject) % STRIPES as u64).unwrap_or(0);
        Some(self.stripes.get(stripe)?.lock().await)
    }
}

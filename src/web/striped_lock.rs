//! Striped mutex keyed by payer: serialises concurrent clicks in this process; one works while the others wait.
//!
//! This is for this process alone and only spares work and limits: between processes the database decides. Subjects
//! share a fixed number of stripes, so that nothing grows with them; what is done under a lock must be short.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};

/// Enough that two payers seldom share one.
const STRIPES: usize = 256;

#[derive(Debug)]
pub struct StripedLock {
    stripes: Vec<Arc<Mutex<()>>>,
    hasher: RandomState,
}

impl StripedLock {
    /// No waiters.
    pub fn new() -> StripedLock {
        StripedLock { stripes: (0..STRIPES).map(|_| Arc::default()).collect(), hasher: RandomState::new() }
    }

    /// Takes the subject's lock, which is held until the guard is dropped.
    pub async fn lock<K: Hash>(&self, subject: &K) -> Option<MutexGuard<'_, ()>> {
        Some(self.stripe(subject)?.lock().await)
    }

    /// As [`StripedLock::lock`], for a task of its own.
    pub async fn owned_lock<K: Hash>(&self, subject: &K) -> Option<OwnedMutexGuard<()>> {
        Some(Arc::clone(self.stripe(subject)?).lock_owned().await)
    }

    fn stripe<K: Hash>(&self, subject: &K) -> Option<&Arc<Mutex<()>>> {
        let stripe = usize::try_from(self.hasher.hash_one(subject) % STRIPES as u64).unwrap_or(0);
        self.stripes.get(stripe)
    }
}

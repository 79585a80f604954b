//! Striped mutex keyed by payer: serialises concurrent clicks in this process; one works while the others
//! wait.
//!
//! This is for this process alone and only spares work and limits: between processes the database decides. Subjects
//! share a fixed number of queues, so that nothing grows with them; what is done under a lock must be short.

use std::hash::{BuildHasher, Hash, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// Queues: enough that strangers seldom meet.
const QUEUES: usize = 256;

#[derive(Debug)]
pub struct Turns {
    queues: Vec<Mutex<()>>,
    places: RandomState,
}

impl Turns {
    /// No waiters.
    pub fn new() -> Turns {
        Turns { queues: (0..QUEUES).map(|_| Mutex::new(())).collect(), places: RandomState::new() }
    }

    /// Takes the subject's lock, which is held until the guard is dropped.
    pub async fn turn<K: Hash>(&self, subject: &K) -> Option<MutexGuard<'_, ()>> {
        let place = usize::try_from(self.places.hash_one(subject) % QUEUES as u64).unwrap_or(0);
        Some(self.queues.get(place)?.lock().await)
    }
}

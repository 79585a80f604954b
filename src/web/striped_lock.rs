//! One after the other, by subject: of a payer's clicks that come at once, one looks and promises while the others
//! wait.
//!
//! This is for this process alone and only spares work and limits: between processes the database decides. Subjects
//! share a fixed number of queues, so that nothing grows with them; what is done in a turn must be short.

use std::hash::{BuildHasher, Hash, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// Queues: enough that strangers seldom meet.
const QUEUES: usize = 256;

/// The queues.
#[derive(Debug)]
pub struct Turns {
    queues: Vec<Mutex<()>>,
    places: RandomState,
}

impl Turns {
    /// Nobody waits.
    pub fn new() -> Turns {
        Turns { queues: (0..QUEUES).map(|_| Mutex::new(())).collect(), places: RandomState::new() }
    }

    /// Waits for the subject's turn, which lasts until the answer is dropped.
    pub async fn turn<K: Hash>(&self, subject: &K) -> Option<MutexGuard<'_, ()>> {
        let place = usize::try_from(self.places.hash_one(subject) % QUEUES as u64).unwrap_or(0);
        Some(self.queues.get(place)?.lock().await)
    }
}

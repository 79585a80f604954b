//! Whether callers wait for their publishes: what they wait for comes before work that no caller waits for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Those that had their answer publish the next message a moment later.
const RECENT: Duration = Duration::from_millis(20);

/// The callers of one stream in this process.
#[derive(Debug, Default)]
pub(super) struct Callers {
    waiting: AtomicUsize,
    last: Mutex<Option<Instant>>,
}

/// One that waits, until it is dropped.
pub(super) struct Caller<'a>(&'a Callers);

impl Callers {
    pub fn waits(&self) -> Caller<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Caller(self)
    }

    /// Whether there is one, or was just now.
    pub fn are_there(&self) -> bool {
        // In this order: one that ends notes the time first.
        if self.waiting.load(Ordering::Acquire) > 0 {
            return true;
        }
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < RECENT)
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.0.waiting.fetch_sub(1, Ordering::Release);
    }
}

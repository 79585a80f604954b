//! Which failed logins stand in the audit: one row a minute in all, because a stranger could fill the table.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One row of the audit in this time.
const EVERY: Duration = Duration::from_secs(60);

/// When a failed login was recorded last, and how many have failed since.
#[derive(Debug, Default)]
pub struct FailedLogins(Mutex<(Option<Instant>, u64)>);

impl FailedLogins {
    /// Counts one. If it is to be recorded, answers how many there were since the last row, with this one.
    pub fn sample(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, count) = &mut *state;
        *count = count.saturating_add(1);
        if last.is_some_and(|at| now.duration_since(at) < EVERY) {
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(count))
    }
}

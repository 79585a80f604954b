//! Real processes are killed, cut off, flooded and lied to; afterwards the books must agree with WeChat's to the fen.

mod audit;
mod backup;
mod copies;
#[cfg(debug_assertions)]
mod crash_sites;
pub mod databases;
mod forgeries;
mod full_bill;
mod intake_log;
mod load;
mod nats;
#[cfg(debug_assertions)]
mod paused_leader;
mod sdks;
mod storm;
mod synced;
mod thousand;
mod three_processes;
mod trace;

use std::time::Duration;

/// Longer than a dead worker's messages (3 s), a dead relay's lease (3 s) and a lost question (60 s) together.
const FAULT_TIMEOUT: Duration = Duration::from_secs(150);

/// How often a state is polled that has no signal.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Polls until there is something.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut poll: impl FnMut() -> F) -> T {
    let started = std::time::Instant::now();
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(started.elapsed() < FAULT_TIMEOUT, "{what} did not happen within {FAULT_TIMEOUT:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

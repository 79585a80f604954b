//! Notifications that do not verify, several in a row: a hint that the merchant's key may be wrong.
//!
//! Anyone can post what does not verify, so it is a hint and no more: it begins once an hour at most, refuses nothing,
//! and one that verifies ends it. Counted in memory, written beside the answer by one task.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::ids::MerchantKey;
use crate::ops::health;
use crate::store::Store;

/// So many in a row, none that verified between them.
const IN_A_ROW: u32 = 5;
/// Where this process has not seen the hint begin, it reads whether there is one so often at most.
const READ_EVERY: Duration = Duration::from_secs(5);
/// So often at most any sender makes it read whether another process received one that verified.
const SENT_EVERY: Duration = Duration::from_secs(60);
/// Changes that wait for the database.
const QUEUE: usize = 64;

pub struct NotifyHealth {
    queue: mpsc::Sender<Seen>,
    streaks: Mutex<HashMap<MerchantKey, Streak>>,
}

#[derive(Debug, Default)]
struct Streak {
    failed: u32,
    first: Option<Timestamp>,
    sent_at: Option<Instant>,
    read_at: Option<Instant>,
}

struct Seen {
    merchant: Merchant,
    at: Timestamp,
    /// How many did not verify, since when; none where one did.
    failed: Option<(u32, Timestamp)>,
}

impl NotifyHealth {
    /// Starts the task that writes. It ends with `shutdown`.
    pub fn start(store: Store, shutdown: CancellationToken) -> NotifyHealth {
        let (queue, mut waiting) = mpsc::channel::<Seen>(QUEUE);
        tokio::spawn(async move {
            while let Some(Some(Seen { merchant, at, failed })) = shutdown.run_until_cancelled(waiting.recv()).await {
                let written = match failed {
                    Some(row) => health::unverified(&store, &merchant, row, at).await,
                    None => health::verified(&store, &merchant, at).await,
                };
                if let Err(e) = written {
                    tracing::debug!(merchant = %merchant.key, error = %e, "whether notifications verify is not stored");
                }
            }
        });
        NotifyHealth { queue, streaks: Mutex::default() }
    }

    /// One did not verify, or could not be decrypted.
    pub fn failed(&self, merchant: &Merchant, at: Timestamp) {
        let mut streaks = self.streaks.lock().unwrap_or_else(PoisonError::into_inner);
        let streak = streaks.entry(merchant.key.clone()).or_default();
        streak.failed = streak.failed.saturating_add(1);
        let first = *streak.first.get_or_insert(at);
        // Again after a minute: the write may have failed, and other processes may have ended it.
        if streak.failed >= IN_A_ROW && streak.sent_at.is_none_or(|sent| sent.elapsed() >= SENT_EVERY) {
            streak.sent_at = Some(Instant::now());
            self.send(Seen { merchant: merchant.clone(), at, failed: Some((streak.failed, first)) });
        }
    }

    /// One verified.
    pub fn verified(&self, merchant: &Merchant, at: Timestamp) {
        let mut streaks = self.streaks.lock().unwrap_or_else(PoisonError::into_inner);
        let streak = streaks.entry(merchant.key.clone()).or_default();
        let is_due = streak.failed >= IN_A_ROW || streak.read_at.is_none_or(|read_at| read_at.elapsed() >= READ_EVERY);
        (streak.failed, streak.first, streak.sent_at) = (0, None, None);
        if is_due {
            streak.read_at = Some(Instant::now());
            self.send(Seen { merchant: merchant.clone(), at, failed: None });
        }
    }

    fn send(&self, seen: Seen) {
        // A full queue means that the database is slow: the next one comes again.
        let _ = self.queue.try_send(seen);
    }
}

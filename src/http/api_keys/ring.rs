//! The keys of the database and the revoked ones, in memory: no request reads them from the database.
//!
//! One task reads them anew every two seconds, and the process that changed one reads at once: a revocation takes
//! effect in every process within five seconds. While the database is away the last list stays in force, and its age is
//! shown. What must stay true: before the first list is there no key is accepted, because it may be a revoked one.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::gauge;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::config::{ApiKey, KeyHash};
use crate::http::problem::Error;
use crate::http::rate_limit::Budget;
use crate::store::{ApiKeyCounts, DbError, Store, StoredApiKey};
use crate::telemetry::API_KEYS_AGE_SECONDS;

/// The pause between two readings.
const REFRESH_EVERY: Duration = Duration::from_secs(2);
/// A reading that takes longer has failed.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request waits for the first list.
const FIRST_WAIT: Duration = Duration::from_secs(3);
/// A use is written again after this.
const USED_EVERY: Duration = Duration::from_secs(60);

pub struct KeyRing {
    store: Store,
    clock: Clock,
    known: watch::Sender<Option<Arc<Known>>>,
    /// As of when the list is known; of the start while there is none.
    as_of: Mutex<Timestamp>,
    /// One reading at a time: an older one must not end after a newer one.
    reading: tokio::sync::Mutex<()>,
    uses: Mutex<HashMap<String, Use>>,
    /// Requests of each client in the current second.
    requests: Budget<String>,
}

/// What was read.
#[derive(Debug)]
pub struct Known {
    counts: ApiKeyCounts,
    /// By the SHA-256 of the key. Where it stands in memory says nothing that a caller could use: it would have to
    /// find keys with chosen digests.
    keys: HashMap<String, ApiKey>,
    revoked: HashSet<String>,
}

#[derive(Debug, Clone, Copy)]
struct Use {
    last: Timestamp,
    written: Option<Timestamp>,
}

impl Known {
    /// A key of the database with this hash.
    pub fn key(&self, sha256: &str) -> Option<&ApiKey> {
        self.keys.get(sha256)
    }

    pub fn is_revoked(&self, sha256: &str) -> bool {
        self.revoked.contains(sha256)
    }
}

impl KeyRing {
    /// Starts the task that reads. It ends with `shutdown`.
    pub fn start(store: Store, clock: Clock, shutdown: CancellationToken) -> Arc<KeyRing> {
        let ring = Arc::new(KeyRing {
            as_of: Mutex::new(clock.now()),
            store,
            clock,
            known: watch::Sender::new(None),
            reading: tokio::sync::Mutex::default(),
            uses: Mutex::default(),
            requests: Budget::default(),
        });
        tokio::spawn(Arc::clone(&ring).keep(shutdown));
        ring
    }

    /// The list in force. Waits for the first one.
    pub async fn known(&self) -> Result<Arc<Known>, Error> {
        if let Some(known) = self.known.borrow().as_ref() {
            return Ok(Arc::clone(known));
        }
        let mut changes = self.known.subscribe();
        let first = timeout(FIRST_WAIT, changes.wait_for(Option::is_some)).await;
        let first = first.ok().and_then(Result::ok).and_then(|known| known.as_ref().map(Arc::clone));
        first.ok_or_else(|| Error::Unavailable { internal: "the revoked API keys could not be read yet".into() })
    }

    /// How old the list is: a later revocation is not known here.
    pub fn age(&self) -> Duration {
        self.clock.now().since(*self.as_of.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the client may be served one more request in this second; if so, it counts.
    pub fn may_serve(&self, key: &ApiKey) -> bool {
        key.rate_limit_per_second.is_none_or(|limit| self.requests.spend(&key.id, limit))
    }

    /// Notes in memory that a key was used.
    pub fn used(&self, sha256: &str, now: Timestamp) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        match uses.get_mut(sha256) {
            Some(seen) => seen.last = now,
            None => _ = uses.insert(sha256.to_owned(), Use { last: now, written: None }),
        }
    }

    /// Reads what changed; afterwards this process knows what was committed before.
    pub async fn refresh(&self) -> Result<(), DbError> {
        let _one = self.reading.lock().await;
        // Before the rows: what is written between them is seen by the next reading.
        let as_of = self.clock.now();
        let counts = self.store.api_key_counts().await?;
        if self.known.borrow().as_ref().is_none_or(|known| known.counts != counts) {
            self.read(counts).await?;
        }
        *self.as_of.lock().unwrap_or_else(PoisonError::into_inner) = as_of;
        Ok(())
    }

    async fn read(&self, counts: ApiKeyCounts) -> Result<(), DbError> {
        let keys = self.store.unrevoked_api_keys().await?;
        let keys = keys.into_iter().map(|key| (key.sha256.clone(), api_key(key))).collect();
        let revoked = self.store.revoked_hashes().await?;
        self.known.send_replace(Some(Arc::new(Known { counts, keys, revoked })));
        Ok(())
    }

    async fn keep(self: Arc<KeyRing>, shutdown: CancellationToken) {
        let mut is_away = false;
        loop {
            let work = async { (timeout(READ_TIMEOUT, self.refresh()).await, self.write_uses().await) };
            let Some((read, ())) = shutdown.run_until_cancelled(work).await else { return };
            let problem = match read {
                Ok(Ok(())) => None,
                Ok(Err(e)) => Some(e.to_string()),
                Err(_) => Some("it does not answer in time".to_owned()),
            };
            if let Some(error) = problem.as_ref().filter(|_| !is_away) {
                tracing::warn!(error, "The API keys of the database cannot be read: the list read last stays in force");
            }
            is_away = problem.is_some();
            gauge!(API_KEYS_AGE_SECONDS).set(self.age().as_secs_f64());
            if shutdown.run_until_cancelled(tokio::time::sleep(REFRESH_EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// Writes the uses that were not written in the last minute.
    async fn write_uses(&self) {
        let mut due: Vec<(String, Timestamp)> = {
            let uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = |seen: &Use| match seen.written {
                None => true,
                Some(written) => seen.last.since(written) >= USED_EVERY,
            };
            uses.iter().filter(|(_, seen)| is_due(seen)).map(|(hash, seen)| (hash.clone(), seen.last)).collect()
        };
        if due.is_empty() {
            return;
        }
        // Processes that write the same rows lock them in one order.
        due.sort_unstable();
        match timeout(READ_TIMEOUT, self.store.note_api_key_uses(&due)).await {
            Ok(Ok(())) => {
                let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
                for (hash, at) in due {
                    if let Some(seen) = uses.get_mut(&hash) {
                        seen.written = Some(at);
                    }
                }
            }
            Ok(Err(e)) => tracing::debug!(error = %e, "when API keys were used cannot be written"),
            Err(_) => tracing::debug!("writing when API keys were used timed out"),
        }
    }
}

fn api_key(key: StoredApiKey) -> ApiKey {
    ApiKey {
        name: key.name,
        id: key.client_id,
        key_id: key.id,
        hashes: vec![KeyHash { sha256: key.sha256, until: key.expires_at }],
        scopes: key.scopes,
        merchants: key.merchants,
        refund_cap_per_day: key.refund_cap_per_day,
        rate_limit_per_second: key.rate_limit_per_second,
    }
}

//! Requests that were refused for their API key: all are counted; a bounded sample is logged and stands in the audit.
//!
//! Beside the answer, never before it. A key itself is never kept: the beginning of its hash identifies one that ended
//! or was mistyped. Unknown keys and keys without the scope have bounds of their own, so that a flood of the first does
//! not hide the second. What must stay true: the audit grows by no more than [`PER_HOUR`] rows an hour of each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::counter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::http::network::network;
use crate::store::{AuditEntry, Store};
use crate::telemetry::{API_KEYS_NOT_AUDITED_TOTAL, API_KEYS_REFUSED_TOTAL};

/// Rows that wait for the database.
const QUEUE: usize = 64;
/// One row per network in this time.
const PER_NETWORK: Duration = Duration::from_secs(60);
/// One row of all networks in this time.
const OVERALL: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Rows of one process in an hour.
const PER_HOUR: u32 = 60;
/// Networks that are remembered.
const NETWORKS: usize = 10_000;

pub struct RefusedKeys {
    queue: mpsc::Sender<AuditEntry>,
    unknown: Sampling,
    scope: Sampling,
}

/// Which refusals of one reason are recorded.
#[derive(Default)]
struct Sampling(Mutex<Sampled>);

#[derive(Default)]
struct Sampled {
    networks: HashMap<IpAddr, Timestamp>,
    last: Option<Timestamp>,
    /// When the hour began, and its rows.
    hour: Option<(Timestamp, u32)>,
}

impl Sampling {
    /// Which one of this hour it is; none where it is counted alone.
    fn pass(&self, client: IpAddr, now: Timestamp) -> Option<u32> {
        let mut sampled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Sampled { networks, last, hour } = &mut *sampled;
        if networks.len() >= NETWORKS {
            networks.retain(|_, at| is_within(*at, PER_NETWORK, now));
        }
        let network = network(client);
        let is_known = networks.get(&network).is_some_and(|at| is_within(*at, PER_NETWORK, now));
        if is_known || networks.len() >= NETWORKS {
            return None;
        }
        networks.insert(network, now);
        if last.is_some_and(|at| is_within(at, OVERALL, now)) {
            return None;
        }
        let (begun, rows) = hour.filter(|(begun, _)| is_within(*begun, HOUR, now)).unwrap_or((now, 0));
        if rows >= PER_HOUR {
            return None;
        }
        *last = Some(now);
        *hour = Some((begun, rows + 1));
        Some(rows + 1)
    }
}

/// A time of the future was noted before the clock was set.
fn is_within(at: Timestamp, interval: Duration, now: Timestamp) -> bool {
    at <= now && now.since(at) < interval
}

impl RefusedKeys {
    /// Starts the task that writes. It ends with `shutdown`.
    pub fn start(store: Store, shutdown: CancellationToken) -> RefusedKeys {
        let (queue, mut rows) = mpsc::channel::<AuditEntry>(QUEUE);
        tokio::spawn(async move {
            while let Some(Some(row)) = shutdown.run_until_cancelled(rows.recv()).await {
                if let Err(e) = store.record_audit(&row).await {
                    tracing::warn!(error = %e, "A refused API key is not in the audit");
                }
            }
        });
        RefusedKeys { queue, unknown: Sampling::default(), scope: Sampling::default() }
    }

    /// Counts a request without a key.
    pub fn missing(&self) {
        counter!(API_KEYS_REFUSED_TOTAL, "reason" => "missing").increment(1);
    }

    /// Counts a request beyond the key's rate limit.
    pub fn over_rate(&self) {
        counter!(API_KEYS_REFUSED_TOTAL, "reason" => "rate").increment(1);
    }

    /// Counts a request with a key that is `unknown` or lacks the `scope`; samples are logged and audited.
    pub fn refused(&self, reason: &'static str, (client, now): (IpAddr, Timestamp), row: impl FnOnce() -> AuditEntry) {
        counter!(API_KEYS_REFUSED_TOTAL, "reason" => reason).increment(1);
        let sampling = if reason == "scope" { &self.scope } else { &self.unknown };
        let Some(of_hour) = sampling.pass(client, now) else {
            counter!(API_KEYS_NOT_AUDITED_TOTAL, "reason" => reason).increment(1);
            return;
        };
        let row = row();
        let (actor, subject, request) = (&row.actor, row.subject.as_deref().unwrap_or_default(), &row.reason);
        tracing::warn!(reason, %client, actor, subject, request, "An API key was refused");
        if of_hour == PER_HOUR {
            tracing::warn!(reason, "Further refused API keys of this hour are counted alone");
        }
        // A full queue means that enough rows are on their way.
        if self.queue.try_send(row).is_err() {
            counter!(API_KEYS_NOT_AUDITED_TOTAL, "reason" => reason).increment(1);
        }
    }
}

//! Requests that were refused for their API key: all are counted; a bounded sample is logged and stands in the audit.
//!
//! Beside the answer, never before it. A key itself is never kept: the beginning of its hash identifies one that ended
//! or was mistyped.

use std::net::IpAddr;
use std::time::Duration;

use metrics::counter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::rate_limit::Throttle;
use crate::store::{AuditEntry, Store};
use crate::telemetry::API_KEYS_REFUSED_TOTAL;

/// Rows that wait for the database.
const QUEUE: usize = 64;
/// One row per address in this time.
const PER_ADDRESS: Duration = Duration::from_secs(60);
/// One row of all addresses in this time.
const OVERALL: Duration = Duration::from_secs(1);

pub struct RefusedKeys {
    queue: mpsc::Sender<AuditEntry>,
    per_address: Throttle<(IpAddr, &'static str)>,
    overall: Throttle<()>,
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
        RefusedKeys { queue, per_address: Throttle::new(PER_ADDRESS), overall: Throttle::new(OVERALL) }
    }

    /// Counts a request without a key.
    pub fn missing(&self) {
        counter!(API_KEYS_REFUSED_TOTAL, "reason" => "missing").increment(1);
    }

    /// Counts a request with a key that is unknown or may not do this; samples are logged and audited.
    pub fn refused(&self, reason: &'static str, client: IpAddr, row: impl FnOnce() -> AuditEntry) {
        counter!(API_KEYS_REFUSED_TOTAL, "reason" => reason).increment(1);
        if !self.per_address.pass((client, reason)) || !self.overall.pass(()) {
            return;
        }
        let row = row();
        let (actor, subject, request) = (&row.actor, row.subject.as_deref().unwrap_or_default(), &row.reason);
        tracing::warn!(reason, %client, actor, subject, request, "An API key was refused");
        // A full queue means that enough rows are on their way.
        let _ = self.queue.try_send(row);
    }
}

//! Keeps a bounded, rate-limited sample of rejected notification bodies for diagnosis.
//!
//! Beside the answer, never before it: a flood of forgeries costs a counter each, and once a second per merchant and
//! reason a row and a log line. When the database is slower than that, samples are dropped.

use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::rate_limit::Throttle;
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;

/// Samples that wait for the database.
const QUEUE: usize = 64;
/// One sample per merchant and reason in this time.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Refused {
    /// At whose address it came in.
    pub merchant: MerchantKey,
    /// Why it was refused, a short stable word.
    pub reason: &'static str,
    /// Who sent it.
    pub remote: String,
    pub body: Bytes,
    pub at: Timestamp,
}

pub struct Quarantine {
    queue: mpsc::Sender<Refused>,
    throttle: Throttle<(MerchantKey, &'static str)>,
}

impl Quarantine {
    /// Starts the task that writes. It ends with `shutdown`.
    pub fn start(store: Store, shutdown: CancellationToken) -> Quarantine {
        let (queue, mut samples) = mpsc::channel::<Refused>(QUEUE);
        tokio::spawn(async move {
            while let Some(Some(s)) = shutdown.run_until_cancelled(samples.recv()).await {
                if let Err(e) = store.quarantine(&s.merchant, s.reason, &s.remote, &s.body, s.at).await {
                    tracing::warn!(error = %e, "A refused body was not stored");
                }
            }
        });
        Quarantine { queue, throttle: Throttle::new(INTERVAL) }
    }

    /// Keeps a sample if it is the first of its kind in this second.
    pub fn sample(&self, refused: Refused) {
        if !self.throttle.pass((refused.merchant.clone(), refused.reason)) {
            return;
        }
        let (merchant, reason, remote) = (&refused.merchant, refused.reason, &refused.remote);
        tracing::warn!(%merchant, reason, remote, bytes = refused.body.len(), "A notification was refused");
        // A full queue means that enough samples are on their way.
        let _ = self.queue.try_send(refused);
    }
}

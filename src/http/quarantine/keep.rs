//! Keeps refused notification bodies: whole where they name an attempt of ours that is not paid, because a replay after
//! a correction needs them; of all others a bounded, rate-limited sample for diagnosis.
//!
//! Beside the answer, never before it, and by one task: a flood of forgeries costs a counter each, and what the task
//! cannot take is dropped and counted. WeChat repeats what was refused.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::displaced::displaced;
use crate::clock::Timestamp;
use crate::http::rate_limit::Throttle;
use crate::ids::{EventId, MerchantKey, OutTradeNo};
use crate::secret::sha256_hex;
use crate::store::{DbError, NotificationKind, RefusedNotification, Store, UnpaidAttempt};
use crate::telemetry::NOTIFY_REFUSED_TOTAL;
use crate::wechat::v2::xml;

/// What bodies that wait for the database may hold together, in KiB; each counts as one at least.
const QUEUE_KIB: usize = 16 * 1024;
/// Bodies of one transaction.
const BATCH: usize = 64;
/// One sample per merchant and reason in this time.
const INTERVAL: Duration = Duration::from_secs(1);
const BYTES_PER_KIB: usize = 1024;

/// A refused notification.
#[derive(Clone)]
pub struct Refused {
    /// At whose address it came in.
    pub merchant: MerchantKey,
    /// What it is about, as far as its form says.
    pub kind: NotificationKind,
    /// Why it was refused, a short stable word.
    pub reason: &'static str,
    /// Those that are kept.
    pub headers: Vec<(String, String)>,
    /// Who sent it.
    pub remote: String,
    pub body: Bytes,
    pub at: Timestamp,
}

/// A refused body on its way to the database.
struct Waiting {
    refused: Refused,
    /// Whether it is kept as a sample if it names no attempt of ours.
    is_sample: bool,
    _room: OwnedSemaphorePermit,
}

pub struct Quarantine {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    throttle: Throttle<(MerchantKey, &'static str)>,
}

impl Quarantine {
    /// Starts the task that writes. It ends with `shutdown`.
    pub fn start(store: Store, shutdown: CancellationToken) -> Quarantine {
        let (queue, mut bodies) = mpsc::channel::<Waiting>(QUEUE_KIB);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(BATCH);
            while let Some(1..) = shutdown.run_until_cancelled(bodies.recv_many(&mut batch, BATCH)).await {
                if let Err(e) = write(&store, &batch).await {
                    count("failed", batch.len());
                    tracing::warn!(error = %e, bodies = batch.len(), "Refused bodies were not stored");
                }
                batch.clear();
            }
        });
        Quarantine { queue, room: Arc::new(Semaphore::new(QUEUE_KIB)), throttle: Throttle::new(INTERVAL) }
    }

    /// Has a refused body kept, unless too many wait already.
    pub fn keep(&self, refused: Refused) {
        let is_sample = self.throttle.pass((refused.merchant.clone(), refused.reason));
        if is_sample {
            let (merchant, reason, remote) = (&refused.merchant, refused.reason, &refused.remote);
            tracing::warn!(%merchant, reason, remote, bytes = refused.body.len(), "A notification was refused");
        }
        let headers: usize = refused.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let kib = u32::try_from((refused.body.len() + headers) / BYTES_PER_KIB + 1).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(kib) else { return count("dropped", 1) };
        if self.queue.try_send(Waiting { refused, is_sample, _room: room }).is_err() {
            count("dropped", 1);
        }
    }
}

/// Stores what names an unpaid attempt, and the samples among the others.
async fn write(store: &Store, batch: &[Waiting]) -> Result<(), DbError> {
    let named: Vec<Option<Named>> = batch.iter().map(|waiting| Named::of(&waiting.refused)).collect();
    let numbers: Vec<(MerchantKey, OutTradeNo)> = batch
        .iter()
        .zip(&named)
        .filter_map(|(waiting, named)| Some((waiting.refused.merchant.clone(), named.as_ref()?.out_trade_no.clone())))
        .collect();
    let unpaid = store.unpaid_attempts(&numbers).await?;
    let (mut whole, mut samples) = (Vec::new(), Vec::new());
    for (waiting, named) in batch.iter().zip(named) {
        let refused = &waiting.refused;
        let found = named.and_then(|named| {
            let attempt = unpaid.get(&(refused.merchant.to_string(), named.out_trade_no.to_string()))?;
            Some(named.kept(refused, attempt.clone()))
        });
        match found {
            Some(kept) => whole.push(kept),
            None if waiting.is_sample => samples.push(refused),
            None => count("not_sampled", 1),
        }
    }
    let kept = whole.len();
    if kept > 0 {
        store.keep_refused(whole, displaced).await?;
        count("kept", kept);
    }
    for s in samples {
        store.quarantine(&s.merchant, s.reason, &s.remote, &s.body, s.at).await?;
        count("sampled", 1);
    }
    Ok(())
}

/// What a body says it is about. Nothing of it is verified.
struct Named {
    out_trade_no: OutTradeNo,
    transaction_id: Option<String>,
}

impl Named {
    fn of(refused: &Refused) -> Option<Named> {
        let mut fields = xml::parse(&refused.body).ok()?;
        let out_trade_no = OutTradeNo::parse(fields.remove("out_trade_no")?).ok()?;
        let transaction_id = fields.remove("transaction_id").filter(|id| id.len() <= 32);
        Some(Named { out_trade_no, transaction_id })
    }

    fn kept(self, refused: &Refused, attempt: UnpaidAttempt) -> RefusedNotification {
        RefusedNotification {
            id: EventId::new(),
            merchant: refused.merchant.clone(),
            kind: refused.kind,
            reason: refused.reason,
            hash: sha256_hex(&refused.body),
            body: refused.body.to_vec(),
            headers: refused.headers.clone(),
            remote_addr: refused.remote.clone(),
            received_at: refused.at,
            out_trade_no: self.out_trade_no,
            transaction_id: self.transaction_id,
            attempt,
        }
    }
}

fn count(outcome: &'static str, bodies: usize) {
    counter!(NOTIFY_REFUSED_TOTAL, "outcome" => outcome).increment(bodies as u64);
}

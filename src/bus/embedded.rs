//! The embedded bus: the queue in the service's own database, for one machine or a few processes on one PostgreSQL.
//!
//! It is not a log for others: of what every consumer acknowledged only the key stays, until the duplicate window has
//! passed, and a consumer that is new in a release gets messages from then on. What must stay true: a publish returns
//! after its transaction committed; a claim is a lease by the database's clock, so that the work of a killed process
//! comes again by itself; `bus.max_bytes` bounds what is outstanding, never what is done with.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::message::Message;
use super::peek::{Peek, Peeked, StreamView};
use super::subscription::{self, Arrived, Receipt as _, Source};
use super::topology::{ConsumerName, ConsumerSpec, Discard, StreamSpec, Topology};
use super::types::ConnectError;
use super::types::{Fill, Lag, LagError, PublishError};
use crate::batcher::{Group, Limits};
use crate::clock::Timestamp;
use crate::store::queue::{Answer, BusRows, Claim, Claimed, NewRow, PeekedRow, Stored, StreamLimit};
use crate::store::{Db, DbError};

/// How often acknowledged messages are pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(10);
/// Maximum poll interval of an idle consumer: other processes cannot wake it.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// Poll interval while there is traffic.
const BUSY_POLL: Duration = Duration::from_millis(10);
/// Most deliveries of one claim.
const MAX_CLAIM: usize = 256;

/// An open embedded bus.
pub(super) struct Embedded {
    topology: Arc<Topology>,
    max_bytes: i64,
    rows: BusRows,
    publishes: Group<NewRow, Result<(), PublishError>>,
    answers: Arc<Group<(Claim, Answer), bool>>,
    signals: HashMap<String, Arc<Notify>>,
    _pruning: AbortOnDropHandle<()>,
}

impl Embedded {
    /// Opens the bus on a migrated database.
    pub async fn open(db: Db, topology: Topology, max_bytes: i64) -> Result<Embedded, ConnectError> {
        let rows = BusRows::new(db);
        let names: Vec<String> = topology.streams.iter().map(|s| s.name.clone()).collect();
        rows.register(&names).await?;
        let consumers = topology.streams.iter().flat_map(|s| s.consumers.iter());
        let signals: HashMap<String, Arc<Notify>> = consumers.map(|c| (c.name.clone(), Arc::default())).collect();
        let limits = topology.streams.iter().map(|s| (s.name.clone(), limit_of(s, max_bytes))).collect();
        Ok(Embedded {
            publishes: publishing(rows.clone(), limits, signals.clone()),
            answers: Arc::new(answering(rows.clone())),
            _pruning: AbortOnDropHandle::new(tokio::spawn(prune(rows.clone(), topology.clone()))),
            topology: Arc::new(topology),
            max_bytes,
            rows,
            signals,
        })
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// See [`super::Bus::publish`].
    pub async fn publish(&self, stream: &StreamSpec, message: Message) -> Result<(), PublishError> {
        let consumers = stream.consumers.iter().filter(|c| super::topology::matches(&c.filter, &message.subject));
        let headers = serde_json::to_string(&message.headers).map_err(|e| PublishError::Unavailable(e.to_string()))?;
        let row = NewRow {
            stream: stream.name.clone(),
            dedupe_key: message.dedupe_key(),
            size_bytes: i64::try_from(message.size()).unwrap_or(i64::MAX),
            consumers: consumers.map(|c| c.name.clone()).collect(),
            subject: message.subject,
            payload: message.payload,
            headers,
        };
        match self.publishes.run(row).await {
            Ok(outcome) => outcome,
            Err(e) => Err(PublishError::Unavailable(e.to_string())),
        }
    }

    /// A consumer's supply.
    pub fn supply(&self, stream: &StreamSpec, name: &ConsumerName, spec: &ConsumerSpec) -> Supply {
        Supply {
            consumer: name.as_str().to_owned(),
            // A stream that drops its oldest makes its own room, under a lock of its counter.
            empties: stream.discard == Discard::New,
            lease_ms: i64::try_from(spec.ack_wait_ms).unwrap_or(i64::MAX),
            rows: self.rows.clone(),
            answers: Arc::clone(&self.answers),
            signal: self.signals.get(name.as_str()).cloned().unwrap_or_default(),
            claiming: None,
            poll_interval: BUSY_POLL,
        }
    }

    /// See [`super::Bus::fill`].
    pub async fn fill(&self) -> Result<Vec<Fill>, LagError> {
        let usage = self.rows.usage().await.map_err(|e| LagError(e.to_string()))?;
        let of = |stream: &StreamSpec| {
            let row = usage.iter().find(|row| row.stream == stream.name)?;
            Fill::of(stream, u64::try_from(row.size_bytes).unwrap_or(0), self.max_bytes)
        };
        Ok(self.topology.streams.iter().filter_map(of).collect())
    }

    /// See [`super::Bus::streams`].
    pub async fn streams(&self) -> Result<Vec<StreamView>, LagError> {
        let usage = self.rows.usage().await.map_err(|e| LagError(e.to_string()))?;
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        let of = |spec: &StreamSpec| {
            let row = usage.iter().find(|row| row.stream == spec.name);
            let (messages, bytes) = row.map_or((0, 0), |row| (count(row.messages), count(row.size_bytes)));
            StreamView::of(spec, messages, bytes, self.max_bytes)
        };
        Ok(self.topology.streams.iter().map(of).collect())
    }

    /// See [`super::Bus::peek`].
    pub async fn peek(
        &self,
        stream: &StreamSpec,
        consumer: Option<&ConsumerSpec>,
        peek: &Peek,
    ) -> Result<Vec<Peeked>, LagError> {
        let after = i64::try_from(peek.after).unwrap_or(i64::MAX);
        let rows = self.rows.peek(&stream.name, consumer.map(|c| c.name.as_str()), after, peek.limit).await;
        let peeked = |row: PeekedRow| {
            let at = (u64::try_from(row.seq).unwrap_or(0), Timestamp::from_ms(row.published_at_ms));
            Peeked::new(at, row.subject, Some(&row.dedupe_key), row.payload)
        };
        Ok(rows.map_err(|e| LagError(e.to_string()))?.into_iter().map(peeked).collect())
    }

    pub async fn lag(&self) -> Result<Vec<Lag>, LagError> {
        let mut all = Vec::new();
        for consumer in self.topology.streams.iter().flat_map(|s| s.consumers.iter()) {
            let row = self.rows.lag(&consumer.name).await.map_err(|e| LagError(e.to_string()))?;
            all.push(Lag {
                consumer: ConsumerName::new(consumer.name.clone()),
                pending: u64::try_from(row.pending).unwrap_or(0),
                in_flight: u64::try_from(row.in_flight).unwrap_or(0),
                oldest_age: row.oldest_age_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
            });
        }
        Ok(all)
    }
}

fn limit_of(stream: &StreamSpec, max_bytes: i64) -> StreamLimit {
    let max_messages = stream.max_messages.and_then(|n| i64::try_from(n).ok()).unwrap_or(i64::MAX);
    StreamLimit {
        max_messages,
        max_bytes: if max_bytes > 0 { max_bytes } else { i64::MAX },
        drops_oldest: match stream.discard {
            Discard::New => false,
            Discard::Old => true,
        },
    }
}

fn publishing(
    rows: BusRows,
    limits: HashMap<String, StreamLimit>,
    signals: HashMap<String, Arc<Notify>>,
) -> Group<NewRow, Result<(), PublishError>> {
    let (limits, signals) = (Arc::new(limits), Arc::new(signals));
    Group::new(Limits { max_batch: 1024, queue: 8192 }, move |batch: Vec<NewRow>| {
        let (rows, limits, signals) = (rows.clone(), Arc::clone(&limits), Arc::clone(&signals));
        async move {
            match rows.insert(&batch, &limits).await {
                Ok(stored) => {
                    for name in batch.iter().flat_map(|row| row.consumers.iter()) {
                        signals.get(name).inspect(|signal| signal.notify_waiters());
                    }
                    let outcome = |s| match s {
                        Stored::Yes => Ok(()),
                        Stored::Full => Err(PublishError::Full),
                    };
                    stored.into_iter().map(outcome).collect()
                }
                Err(e) => {
                    let why = describe(&e);
                    tracing::warn!(error = why, messages = batch.len(), "messages were not stored");
                    batch.iter().map(|_| Err(PublishError::Unavailable(why.clone()))).collect()
                }
            }
        }
    })
}

/// Answers are applied together; `true` when they are durable.
fn answering(rows: BusRows) -> Group<(Claim, Answer), bool> {
    Group::new(Limits { max_batch: 1024, queue: 8192 }, move |batch: Vec<(Claim, Answer)>| {
        let rows = rows.clone();
        async move {
            let applied = rows.answer(&batch).await;
            if let Err(e) = &applied {
                tracing::warn!(error = describe(e), answers = batch.len(), "answers to deliveries were not stored");
            }
            vec![applied.is_ok(); batch.len()]
        }
    })
}

/// The error without what the database's text may quote of a row.
fn describe(error: &DbError) -> String {
    error.to_string()
}

async fn prune(rows: BusRows, topology: Topology) {
    loop {
        for stream in &topology.streams {
            let window_ms = i64::try_from(stream.duplicate_window_ms).unwrap_or(i64::MAX);
            // Until nothing is left, but never without a pause: publishers share the writer.
            loop {
                match rows.prune(&stream.name, window_ms).await {
                    Ok(0) => break,
                    Ok(_) => tokio::time::sleep(BUSY_POLL).await,
                    Err(e) => {
                        tracing::warn!(
                            error = describe(&e),
                            stream = stream.name,
                            "acknowledged messages were not pruned"
                        );
                        break;
                    }
                }
            }
        }
        tokio::time::sleep(PRUNE_EVERY).await;
    }
}

/// A consumer's claims.
pub(super) struct Supply {
    consumer: String,
    /// Whether an acknowledged message's body is deleted.
    empties: bool,
    lease_ms: i64,
    rows: BusRows,
    answers: Arc<Group<(Claim, Answer), bool>>,
    signal: Arc<Notify>,
    /// A claim under way. It has a task of its own, because the loop may stop waiting for it at any moment and a claim
    /// that committed unheard would keep its messages until the lease ends.
    claiming: Option<JoinHandle<Result<Vec<Claimed>, DbError>>>,
    poll_interval: Duration,
}

impl Source for Supply {
    type Receipt = Receipt;

    /// See [`super::subscription::Source::take`].
    async fn take(&mut self, free: usize) -> Vec<Arrived<Receipt>> {
        loop {
            let signal = Arc::clone(&self.signal);
            let signalled = signal.notified();
            tokio::pin!(signalled);
            // Enabled before the poll, so that a message stored during the poll wakes this consumer.
            signalled.as_mut().enable();
            let pause = match self.claim(free).await {
                Ok(claimed) if !claimed.is_empty() => {
                    self.poll_interval = BUSY_POLL;
                    return claimed.into_iter().map(|c| self.arrived(c)).collect();
                }
                Ok(_) => {
                    self.poll_interval = (self.poll_interval * 2).min(IDLE_POLL);
                    self.poll_interval
                }
                Err(e) => {
                    tracing::warn!(error = describe(&e), consumer = self.consumer, "deliveries could not be claimed");
                    Duration::from_millis(500)
                }
            };
            tokio::select! {
                () = &mut signalled => self.poll_interval = BUSY_POLL,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// See [`super::subscription::Source::close`].
    async fn close(mut self) {
        let Some(claiming) = self.claiming.take() else { return };
        for claimed in claiming.await.ok().and_then(Result::ok).unwrap_or_default() {
            self.receipt(&claimed).give_back().await;
        }
    }
}

impl Supply {
    async fn claim(&mut self, free: usize) -> Result<Vec<Claimed>, DbError> {
        if self.claiming.is_none() {
            // A poll costs a read; a claim occupies the single writer.
            match self.rows.next_due_in_ms(&self.consumer).await? {
                Some(due_in_ms) if due_in_ms <= 0 => {}
                Some(_) | None => return Ok(Vec::new()),
            }
        }
        let (rows, consumer, lease_ms) = (&self.rows, &self.consumer, self.lease_ms);
        let claiming = self.claiming.get_or_insert_with(|| {
            let (rows, consumer, limit) = (rows.clone(), consumer.clone(), free.min(MAX_CLAIM));
            tokio::spawn(async move { rows.claim(&consumer, limit, lease_ms).await })
        });
        let outcome = claiming.await;
        self.claiming = None;
        outcome.unwrap_or_else(|e| Err(DbError::Defect(format!("a claim ended: {e}"))))
    }

    fn receipt(&self, claimed: &Claimed) -> Receipt {
        let Claimed { seq, deliveries, size_bytes, .. } = *claimed;
        Receipt {
            claim: Claim { seq, consumer: self.consumer.clone(), deliveries },
            frees: if self.empties { size_bytes } else { 0 },
            lease_ms: self.lease_ms,
            answers: Arc::clone(&self.answers),
        }
    }

    fn arrived(&self, claimed: Claimed) -> Arrived<Receipt> {
        let receipt = self.receipt(&claimed);
        let id = Message::id_of_key(&claimed.dedupe_key);
        Arrived {
            message: Message {
                subject: claimed.subject,
                id: id.unwrap_or_default(),
                payload: claimed.payload,
                headers: serde_json::from_str(&claimed.headers).unwrap_or_default(),
            },
            on_bus: u32::try_from(claimed.deliveries).unwrap_or(u32::MAX),
            published_at: Timestamp::from_ms(claimed.published_at_ms),
            first_error: claimed.first_error,
            alien: id.is_none(),
            receipt,
        }
    }
}

/// One claimed delivery.
pub(super) struct Receipt {
    claim: Claim,
    /// What its message counts against the stream's limit until it is acknowledged.
    frees: i64,
    lease_ms: i64,
    answers: Arc<Group<(Claim, Answer), bool>>,
}

impl subscription::Receipt for Receipt {
    async fn ack(&self) {
        self.answer(Answer::Done { frees: self.frees }).await;
    }

    async fn wait(&self, after: Duration, first_error: &str) {
        let after_ms = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        self.answer(Answer::Wait { after_ms, first_error: first_error.to_owned() }).await;
    }

    async fn give_back(&self) {
        self.answer(Answer::Release).await;
    }

    async fn keep_alive(&self) {
        let _ = self.answers.run((self.claim.clone(), Answer::Extend { lease_ms: self.lease_ms })).await;
    }

    fn has_room(&self) -> bool {
        // A waiting row takes none of the consumer's places.
        true
    }
}

impl Receipt {
    /// Twice more on an error; then the lease expires and the message is redelivered.
    async fn answer(&self, answer: Answer) {
        for pause_ms in [50, 500, 0] {
            if self.answers.run((self.claim.clone(), answer.clone())).await == Ok(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        metrics::counter!("wxpay_bus_answers_lost_total", "consumer" => self.claim.consumer.clone()).increment(1);
    }
}

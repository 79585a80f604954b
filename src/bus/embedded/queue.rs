//! The open bus: publishing, and what operators see of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::publishing::{LocalConsumer, publishing};
use super::supply::{Answers, Supply, answering};
use crate::batcher::Group;
use crate::bus::message::Message;
use crate::bus::peek::{Peek, Peeked, StreamView};
use crate::bus::topology;
use crate::bus::topology::{ConsumerName, ConsumerSpec, Discard, StreamSpec, Topology};
use crate::bus::types::{ConnectError, Fill, Lag, LagError, PublishError};
use crate::clock::Timestamp;
use crate::store::Db;
use crate::store::queue::{BusRows, NewRow, PeekedRow, StreamLimit, Taker};

/// How often acknowledged messages are pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(10);
/// Between two steps of pruning.
const PAUSE: Duration = Duration::from_millis(10);

/// An open embedded bus.
pub(in crate::bus) struct Embedded {
    topology: Arc<Topology>,
    max_bytes: i64,
    rows: BusRows,
    publishes: Group<NewRow, Result<(), PublishError>>,
    answers: Arc<Answers>,
    consumers: Arc<HashMap<String, LocalConsumer>>,
    _pruning: AbortOnDropHandle<()>,
}

impl Embedded {
    /// Opens the bus on a migrated database.
    pub async fn open(db: Db, topology: Topology, max_bytes: i64) -> Result<Embedded, ConnectError> {
        let rows = BusRows::new(db);
        let names: Vec<String> = topology.streams.iter().map(|s| s.name.clone()).collect();
        rows.register(&names).await?;
        let consumers = topology.streams.iter().flat_map(|s| s.consumers.iter());
        let local = |c: &ConsumerSpec| {
            let lease_ms = i64::try_from(c.ack_wait_ms).unwrap_or(i64::MAX);
            (c.name.clone(), LocalConsumer { handover: Arc::default(), lease_ms })
        };
        let consumers = Arc::new(consumers.map(local).collect::<HashMap<_, _>>());
        let limits = topology.streams.iter().map(|s| (s.name.clone(), limit_of(s, max_bytes))).collect();
        Ok(Embedded {
            publishes: publishing(rows.clone(), limits, Arc::clone(&consumers)),
            answers: Arc::new(answering(rows.clone())),
            _pruning: AbortOnDropHandle::new(tokio::spawn(prune(rows.clone(), topology.clone()))),
            topology: Arc::new(topology),
            max_bytes,
            rows,
            consumers,
        })
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The message as its row of the queue.
    pub fn row(stream: &StreamSpec, message: Message) -> Result<NewRow, PublishError> {
        let consumers = stream.consumers.iter().filter(|c| topology::matches(&c.filter, &message.subject));
        let headers = serde_json::to_string(&message.headers).map_err(|e| PublishError::Unavailable(e.to_string()))?;
        Ok(NewRow {
            stream: stream.name.clone(),
            dedupe_key: message.dedupe_key(),
            size_bytes: i64::try_from(message.size()).unwrap_or(i64::MAX),
            consumers: consumers.map(|c| Taker { consumer: c.name.clone(), lease_ms: None }).collect(),
            subject: message.subject,
            payload: message.payload,
            headers,
        })
    }

    /// See [`crate::bus::Bus::publish`].
    pub async fn publish(&self, stream: &StreamSpec, message: Message) -> Result<(), PublishError> {
        match self.publishes.run(Embedded::row(stream, message)?).await {
            Ok(outcome) => outcome,
            Err(e) => Err(PublishError::Unavailable(e.to_string())),
        }
    }

    /// A consumer's supply.
    pub fn supply(&self, stream: &StreamSpec, name: &ConsumerName, spec: &ConsumerSpec) -> Supply {
        Supply::new(
            name.as_str().to_owned(),
            // A stream that drops its oldest makes its own room, under a lock of its counter.
            stream.discard == Discard::New,
            i64::try_from(spec.ack_wait_ms).unwrap_or(i64::MAX),
            self.rows.clone(),
            Arc::clone(&self.answers),
            self.consumers.get(name.as_str()).map(|consumer| Arc::clone(&consumer.handover)).unwrap_or_default(),
        )
    }

    /// See [`crate::bus::Bus::fill`].
    pub async fn fill(&self) -> Result<Vec<Fill>, LagError> {
        let usage = self.rows.usage().await.map_err(|e| LagError(e.to_string()))?;
        let of = |stream: &StreamSpec| {
            let row = usage.iter().find(|row| row.stream == stream.name)?;
            Fill::of(stream, u64::try_from(row.size_bytes).unwrap_or(0), self.max_bytes)
        };
        Ok(self.topology.streams.iter().filter_map(of).collect())
    }

    /// See [`crate::bus::Bus::streams`].
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

    /// See [`crate::bus::Bus::peek`].
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

async fn prune(rows: BusRows, topology: Topology) {
    loop {
        for stream in &topology.streams {
            let window_ms = i64::try_from(stream.duplicate_window_ms).unwrap_or(i64::MAX);
            // Until nothing is left, but never without a pause: publishers share the writer.
            loop {
                match rows.prune(&stream.name, window_ms).await {
                    Ok(0) => break,
                    Ok(_) => tokio::time::sleep(PAUSE).await,
                    Err(e) => {
                        tracing::warn!(
                            error = e.to_string(),
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

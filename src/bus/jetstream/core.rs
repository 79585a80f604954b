//! What the parts of the connected bus share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_nats::jetstream::Context;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::headers::timestamp;
use super::readers::Readers;
use crate::bus::topology::{ConsumerName, ConsumerSpec, StreamSpec, Topology};
use crate::bus::types::{Lag, LagError};
use crate::clock::Clock;

/// What every part shares.
pub(super) struct Core {
    pub(super) client: async_nats::Client,
    pub(super) context: Context,
    pub(super) topology: Topology,
    pub(super) replicas: usize,
    pub(super) max_bytes: i64,
    /// Whether streams take atomic batches; set when they are brought into shape.
    pub(super) atomic: AtomicBool,
    /// Whether messages that wait together may travel in bundles.
    pub(super) bundles: bool,
    pub(super) readers: Arc<Readers>,
    /// Counts connections made.
    pub(super) connections: watch::Receiver<u64>,
    /// When the shape was last made right, so that many who notice at once do it once.
    pub(super) shaped_at: Mutex<Option<Instant>>,
    /// When space was last checked.
    pub(super) cleared_at: Mutex<Option<Instant>>,
    /// A setting reported by a server since the start with which it must not be used.
    pub(super) objection: watch::Sender<Option<String>>,
}

impl Core {
    pub(super) async fn lag_of(&self, stream: &StreamSpec, spec: &ConsumerSpec) -> Result<Lag, LagError> {
        let stream = self.context.get_stream_no_info(&stream.name).await.map_err(|e| LagError(e.to_string()))?;
        let info = stream.consumer_info(&spec.name).await.map_err(|e| LagError(e.to_string()))?;
        let in_flight = u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX);
        let oldest_age = if info.num_pending + in_flight == 0 {
            None
        } else {
            let next =
                stream.raw_message_builder().next_by_subject(&spec.filter).sequence(info.ack_floor.stream_sequence + 1);
            // Gone between the two questions: then it is not the oldest any more.
            next.send().await.ok().map(|oldest| Clock::system().now().since(timestamp(oldest.time)))
        };
        Ok(Lag { consumer: ConsumerName::new(spec.name.clone()), pending: info.num_pending, in_flight, oldest_age })
    }
}

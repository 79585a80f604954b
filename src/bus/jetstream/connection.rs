//! The connected bus, and what its parts share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::headers::timestamp;
use super::publisher::Publisher;
use super::subscription::Supply;
use super::{advisory, connect, provision};
use crate::bus::message::Message;
use crate::bus::topology::{ConsumerName, ConsumerSpec, StreamSpec, Topology};
use crate::bus::{ConnectError, Lag, LagError, PublishError, Report};
use crate::clock::Clock;
use crate::config;

/// How often the configuration of streams and their used space are maintained.
pub(super) const CARE_EVERY: Duration = Duration::from_secs(30);

/// What every part shares.
pub(super) struct Core {
    pub(super) client: async_nats::Client,
    pub(super) context: Context,
    pub(super) topology: Topology,
    pub(super) replicas: usize,
    pub(super) max_bytes: i64,
    /// Whether streams take atomic batches; set when they are brought into shape.
    pub(super) atomic: AtomicBool,
    /// Counts connections made.
    pub(super) connections: watch::Receiver<u64>,
    /// When the shape was last made right, so that many who notice at once do it once.
    pub(super) shaped_at: Mutex<Option<Instant>>,
    /// When a purge last ran.
    pub(super) cleared_at: Mutex<Option<Instant>>,
    /// A setting reported by a server since the start with which it must not be used.
    pub(super) objection: watch::Sender<Option<String>>,
}

/// A connected JetStream bus.
pub(in crate::bus) struct JetStream {
    core: Arc<Core>,
    publishers: HashMap<String, Publisher>,
    _care: AbortOnDropHandle<()>,
}

impl JetStream {
    /// Connects, checks what the servers guarantee, and provisions streams and consumers.
    pub async fn connect(settings: &config::Bus, topology: Topology) -> Result<(JetStream, Report), ConnectError> {
        let (client, connections) = connect::connect(settings).await?;
        let mut report = connect::inspect(settings, &client).await?;
        let core = Arc::new(Core {
            context: jetstream::context::ContextBuilder::new()
                .timeout(crate::bus::PUBLISH_TIMEOUT)
                .backpressure_on_inflight(true)
                .build(client.clone()),
            client,
            topology,
            replicas: settings.replicas,
            max_bytes: settings.max_bytes,
            atomic: AtomicBool::new(false),
            connections,
            shaped_at: Mutex::new(None),
            cleared_at: Mutex::new(None),
            objection: watch::Sender::new(None),
        });
        provision::bring_into_shape(&core).await?;
        report.atomic_batches = core.atomic.load(Ordering::Relaxed);
        let publishers = core
            .topology
            .streams
            .iter()
            .map(|s| (s.name.clone(), Publisher::new(Arc::clone(&core), s.clone())))
            .collect();
        let care = AbortOnDropHandle::new(tokio::spawn(provision::take_care(Arc::clone(&core), settings.clone())));
        Ok((JetStream { core, publishers, _care: care }, report))
    }

    pub fn topology(&self) -> &Topology {
        &self.core.topology
    }

    /// See [`crate::bus::Bus::publish`].
    pub async fn publish(&self, stream: &StreamSpec, message: Message) -> Result<(), PublishError> {
        match self.publishers.get(&stream.name) {
            Some(publisher) => publisher.publish(message).await,
            None => Err(PublishError::Misdirected(message.subject)),
        }
    }

    /// A consumer's supply.
    pub fn supply(&self, stream: &StreamSpec, spec: &ConsumerSpec) -> Supply {
        Supply::new(Arc::clone(&self.core), stream.name.clone(), spec.clone())
    }

    /// Watches for deliveries that the server gave up on.
    pub fn rescue<P: crate::bus::Parking>(
        &self,
        stream: &StreamSpec,
        spec: &ConsumerSpec,
        parking: Arc<P>,
        cancel: tokio_util::sync::CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<P> {
        advisory::watch(Arc::clone(&self.core), stream.clone(), spec.clone(), parking, cancel)
    }

    /// See [`crate::bus::Bus::objection`].
    pub fn objection(&self) -> Option<String> {
        self.core.objection.borrow().clone()
    }

    pub async fn lag(&self) -> Result<Vec<Lag>, LagError> {
        let mut all = Vec::new();
        for stream in &self.core.topology.streams {
            for spec in &stream.consumers {
                all.push(self.core.lag_of(stream, spec).await?);
            }
        }
        Ok(all)
    }
}

impl Core {
    async fn lag_of(&self, stream: &StreamSpec, spec: &ConsumerSpec) -> Result<Lag, LagError> {
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

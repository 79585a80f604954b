//! The connected bus.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::jetstream;
use tokio::sync::{Mutex, watch};
use tokio_util::task::AbortOnDropHandle;

use super::bundles::Bundles;
use super::core::Core;
use super::publisher::Publisher;
use super::readers::Readers;
use super::subscription::Supply;
use super::{advisory, connect, provision};
use crate::bus::callers::Callers;
use crate::bus::message::Message;
use crate::bus::parcel::Packing;
use crate::bus::topology::{ConsumerSpec, StreamSpec, Topology};
use crate::bus::{ConnectError, Fill, Lag, LagError, PublishError, Report};
use crate::config;

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
            bundles: settings.bundles,
            readers: Readers::new(),
            connections,
            shaped_at: Mutex::new(None),
            cleared_at: Mutex::new(None),
            objection: watch::Sender::new(None),
        });
        provision::at_start(&core).await?;
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

    pub(super) fn context(&self) -> &jetstream::Context {
        &self.core.context
    }

    /// See [`crate::bus::Bus::publish`].
    pub async fn publish(&self, stream: &StreamSpec, message: Message) -> Result<(), PublishError> {
        match self.publishers.get(&stream.name) {
            Some(publisher) => publisher.publish(message).await,
            None => Err(PublishError::Misdirected(message.subject)),
        }
    }

    /// See [`crate::bus::Bus::publish_all`].
    pub async fn publish_all(
        &self,
        stream: &StreamSpec,
        messages: Vec<Message>,
        packing: &Packing,
    ) -> Vec<Result<(), PublishError>> {
        match self.publishers.get(&stream.name) {
            Some(publisher) => publisher.publish_all(messages, packing).await,
            None => messages.into_iter().map(|message| Err(PublishError::Misdirected(message.subject))).collect(),
        }
    }

    /// Who waits for publishes to a stream.
    pub fn callers(&self, stream: &StreamSpec) -> Arc<Callers> {
        self.publishers.get(&stream.name).map(|publisher| Arc::clone(publisher.callers())).unwrap_or_default()
    }

    /// A consumer's supply.
    pub fn supply(&self, stream: &StreamSpec, spec: &ConsumerSpec) -> Supply {
        Supply::new(Arc::clone(&self.core), stream.name.clone(), spec.clone())
    }

    /// The supply of a consumer of bundles.
    pub fn bundles(&self, stream: &StreamSpec, spec: &ConsumerSpec) -> Bundles {
        Bundles::new(Arc::clone(&self.core), self.supply(stream, spec), (stream, spec))
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

    /// See [`crate::bus::Bus::fill`]. By the limit that the server has, which another process may have set.
    pub async fn fill(&self) -> Result<Vec<Fill>, LagError> {
        let mut all = Vec::new();
        for spec in &self.core.topology.streams {
            let stream = self.core.context.get_stream(&spec.name).await.map_err(|e| LagError(e.to_string()))?;
            let info = stream.cached_info();
            all.extend(Fill::of(spec, info.state.bytes, info.config.max_bytes));
        }
        Ok(all)
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

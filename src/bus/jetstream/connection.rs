//! The connection: what every part of this folder works over, and what the port calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::super::message::Message;
use super::super::topology::{ConsumerName, ConsumerSpec, StreamSpec, Topology};
use super::super::{ConnectError, Lag, LagError, PublishError, Report};
use super::publisher::Publisher;
use super::supply::Supply;
use super::{attach, rescue, shape};
use crate::clock::{Clock, Timestamp};
use crate::config;

/// How often the shape of streams and the space they take are looked after.
pub const CARE_EVERY: Duration = Duration::from_secs(30);

/// What every part shares.
pub struct Core {
    pub client: async_nats::Client,
    pub context: Context,
    pub topology: Topology,
    pub replicas: usize,
    pub max_bytes: i64,
    /// Whether streams take atomic batches; set when they are brought into shape.
    pub atomic: AtomicBool,
    /// Counts connections made.
    pub connections: watch::Receiver<u64>,
    /// When the shape was last made right, so that many who notice at once do it once.
    pub shaped_at: Mutex<Option<Instant>>,
    /// When space was last looked for.
    pub cleared_at: Mutex<Option<Instant>>,
}

/// A connected JetStream bus.
pub struct JetStream {
    core: Arc<Core>,
    publishers: HashMap<String, Publisher>,
    _care: AbortOnDropHandle<()>,
}

impl JetStream {
    /// Connects, checks what the servers promise, makes streams and consumers.
    pub async fn connect(settings: &config::Bus, topology: Topology) -> Result<(JetStream, Report), ConnectError> {
        let (client, connections) = attach::connect(settings).await?;
        let mut report = attach::inspect(settings, &client).await?;
        let core = Arc::new(Core {
            context: jetstream::context::ContextBuilder::new()
                .timeout(super::super::PUBLISH_TIMEOUT)
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
        });
        shape::bring_into_shape(&core).await?;
        report.atomic_batches = core.atomic.load(Ordering::Relaxed);
        let publishers = core
            .topology
            .streams
            .iter()
            .map(|s| (s.name.clone(), Publisher::new(Arc::clone(&core), s.clone())))
            .collect();
        let care = AbortOnDropHandle::new(tokio::spawn(shape::take_care(Arc::clone(&core))));
        Ok((JetStream { core, publishers, _care: care }, report))
    }

    pub fn topology(&self) -> &Topology {
        &self.core.topology
    }

    /// See [`super::super::Bus::publish`].
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
    pub fn rescue<P: super::super::Parking>(
        &self,
        stream: &StreamSpec,
        spec: &ConsumerSpec,
        parking: Arc<P>,
        cancel: tokio_util::sync::CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<P> {
        rescue::watch(Arc::clone(&self.core), stream.clone(), spec.clone(), parking, cancel)
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
    pub async fn lag_of(&self, stream: &StreamSpec, spec: &ConsumerSpec) -> Result<Lag, LagError> {
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

pub fn timestamp(time: async_nats::datetime::DateTime) -> Timestamp {
    Timestamp::from_ms(i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX))
}

/// The headers of a message on the wire, its key included.
pub fn to_wire(message: &Message) -> async_nats::HeaderMap {
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in &message.headers {
        headers.insert(name.as_str(), value.as_str());
    }
    headers.insert(async_nats::header::NATS_MESSAGE_ID, message.dedupe_key().as_str());
    headers
}

/// A message from the wire, and whether it is somebody else's. What carries no id of ours gets one that stays the same over
/// deliveries: it is made from the place in the stream.
pub fn from_wire(
    subject: &str,
    payload: &[u8],
    headers: Option<&async_nats::HeaderMap>,
    place: (&str, u64),
) -> (Message, bool) {
    let key = headers.and_then(|h| h.get_last(async_nats::header::NATS_MESSAGE_ID)).map(|v| v.as_str());
    let id = key.and_then(Message::id_of_key);
    let ours = |name: &str| !name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("nats-"));
    let listed = headers.into_iter().flat_map(|h| h.iter()).filter_map(|(name, values)| {
        let name: &str = name.as_ref();
        ours(name).then(|| Some((name.to_owned(), values.last()?.as_str().to_owned()))).flatten()
    });
    let message = Message {
        subject: subject.to_owned(),
        id: id.unwrap_or_else(|| id_of_place(place)),
        payload: payload.to_vec(),
        headers: listed.collect(),
    };
    (message, id.is_none())
}

fn id_of_place((stream, seq): (&str, u64)) -> crate::ids::EventId {
    let digest = crate::secret::sha256_hex(format!("{stream}\n{seq}").as_bytes());
    crate::ids::EventId::parse(&digest[..32]).unwrap_or_default()
}

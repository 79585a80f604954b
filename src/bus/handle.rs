//! The handle of a connected bus: publish, consume, and how far behind. What both implementations share is here; where
//! they differ, each has its own folder or file.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio_util::sync::CancellationToken;

use super::consumer::Together;
use super::dead_letter::Parking;
use super::message::{Delivery, Message};
use super::parcel::Parcel;
use super::peek::{Peek, Peeked, StreamView};
use super::topology;
use super::topology::{ConsumerName, ConsumerSpec, StreamSpec, Topology};
use super::types::{
    ConnectError, ConsumeError, Fill, Inspected, Lag, LagError, PEEK_TIMEOUT, PUBLISH_TIMEOUT, PublishError, Report,
};
use super::verdict::Verdict;
use super::{consumer, embedded, jetstream};
use crate::config;
use crate::store::Db;
use crate::store::queue::NewRow;

/// How long publishing a parcel may take: no caller of WeChat's waits for it.
const PARCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// A connected bus. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Bus {
    kind: Arc<Kind>,
    accepted: Arc<OnceLock<Accepted>>,
}

/// What a process accepted for a consumer, from where it is brought to the queue or past it.
struct Accepted {
    consumer: ConsumerName,
    waits: Box<dyn Fn() -> (u64, Option<Duration>) + Send + Sync>,
}

enum Kind {
    Embedded(embedded::Embedded),
    JetStream(jetstream::JetStream),
}

impl Bus {
    /// Connects and brings streams and consumers into shape. `db` is needed by the embedded bus, migrated.
    pub async fn connect(settings: &config::Bus, db: Option<Db>) -> Result<(Bus, Report), ConnectError> {
        Bus::connect_with(settings, db, Topology::builtin(settings.ack_wait)?).await
    }

    /// [`Bus::connect`] with a topology of one's own.
    // Boxed: what a program awaits is then compiled with this crate, and not once more with each program.
    pub fn connect_with(
        settings: &config::Bus,
        db: Option<Db>,
        topology: Topology,
    ) -> BoxFuture<'_, Result<(Bus, Report), ConnectError>> {
        Box::pin(Bus::connected(settings, db, topology))
    }

    async fn connected(
        settings: &config::Bus,
        db: Option<Db>,
        topology: Topology,
    ) -> Result<(Bus, Report), ConnectError> {
        if settings.url.expose().trim().starts_with("embedded:") {
            let db = db.ok_or(ConnectError::NoDatabase)?;
            let bus = embedded::Embedded::open(db, topology.without_bundles(), settings.max_bytes).await?;
            return Ok((Bus::of(Kind::Embedded(bus)), Report::embedded()));
        }
        let (bus, report) = jetstream::JetStream::connect(settings, topology).await?;
        Ok((Bus::of(Kind::JetStream(bus)), report))
    }

    fn of(kind: Kind) -> Bus {
        Bus { kind: Arc::new(kind), accepted: Arc::default() }
    }

    /// Asks the servers of NATS what they guarantee and how full their streams are. Nothing is made or changed.
    pub async fn inspect(settings: &config::Bus) -> Result<Inspected, ConnectError> {
        jetstream::inspect(settings, &Topology::builtin(settings.ack_wait)?).await
    }

    fn topology(&self) -> &Topology {
        match self.kind.as_ref() {
            Kind::Embedded(bus) => bus.topology(),
            Kind::JetStream(bus) => bus.topology(),
        }
    }

    /// A message as the row of the embedded queue that its publish would make, to be written by others.
    pub fn queue_row(&self, message: Message) -> Result<NewRow, PublishError> {
        let stream = self.topology().stream_of(&message.subject).filter(|_| topology::is_subject(&message.subject));
        let stream = stream.ok_or_else(|| PublishError::Misdirected(message.subject.escape_default().to_string()))?;
        embedded::Embedded::row(stream, message)
    }

    /// Publishes a message; returns after it is durable. The same message (by [`Message::dedupe_key`]) within the
    /// duplicate window is stored once, and each publish of it succeeds.
    ///
    /// Publishes of one subject that are started one after the other are stored in that order.
    pub async fn publish(&self, message: Message) -> Result<(), PublishError> {
        let stream = self.stream_for(&message)?;
        let acknowledged = async {
            match self.kind.as_ref() {
                Kind::Embedded(bus) => bus.publish(stream, message).await,
                Kind::JetStream(bus) => bus.publish(stream, message).await,
            }
        };
        let outcome = tokio::time::timeout(PUBLISH_TIMEOUT, acknowledged).await.unwrap_or(Err(PublishError::Timeout));
        count(stream, &outcome);
        outcome
    }

    /// Publishes a parcel; an outcome for each of its messages, in their order. Published again soon, it is the same to
    /// the server, whatever it stored of it.
    pub async fn publish_all(&self, parcel: &Parcel) -> Vec<Result<(), PublishError>> {
        let Kind::JetStream(bus) = self.kind.as_ref() else {
            return join_all(parcel.messages().iter().map(|message| self.publish(message.clone()))).await;
        };
        let streams: Vec<_> = parcel.messages().iter().map(|message| self.stream_for(message)).collect();
        let mut by_stream: Vec<(&StreamSpec, Vec<Message>)> = Vec::new();
        for (stream, message) in streams.iter().zip(parcel.messages()) {
            let Ok(stream) = *stream else { continue };
            match by_stream.iter_mut().find(|(of, _)| of.name == stream.name) {
                Some((_, messages)) => messages.push(message.clone()),
                None => by_stream.push((stream, vec![message.clone()])),
            }
        }
        let mut outcomes: HashMap<&str, _> = HashMap::new();
        for (stream, messages) in by_stream {
            let count = messages.len();
            let published = bus.publish_all(stream, messages, parcel.packing());
            let late = || vec![Err(PublishError::Timeout); count];
            let published = tokio::time::timeout(PARCEL_TIMEOUT, published).await.unwrap_or_else(|_| late());
            outcomes.insert(&stream.name, published.into_iter());
        }
        let outcome_of = |stream: Result<&StreamSpec, PublishError>| {
            let stream = stream?;
            let outcome = outcomes.get_mut(stream.name.as_str()).and_then(Iterator::next);
            let outcome = outcome.unwrap_or_else(|| Err(PublishError::Unavailable("there is no answer".into())));
            count(stream, &outcome);
            outcome
        };
        streams.into_iter().map(outcome_of).collect()
    }

    /// The stream that takes a message.
    fn stream_for(&self, message: &Message) -> Result<&StreamSpec, PublishError> {
        let stream = self.topology().stream_of(&message.subject).filter(|_| topology::is_subject(&message.subject));
        let stream = stream.ok_or_else(|| PublishError::Misdirected(message.subject.escape_default().to_string()))?;
        if message.size() > stream.max_message_bytes as usize {
            return Err(PublishError::TooLarge);
        }
        Ok(stream)
    }

    /// Works for a consumer until `cancel`: runs `handler` on deliveries, at most `concurrency` at once, and parks or
    /// defers through `parking`. After `cancel` nothing new is taken; returns when the running handlers are done.
    ///
    /// Several processes may work for one consumer. Errors of the bus are waited out.
    pub async fn consume<H, F, P>(
        &self,
        name: ConsumerName,
        concurrency: usize,
        handler: H,
        parking: Arc<P>,
        cancel: CancellationToken,
    ) -> Result<(), ConsumeError>
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Verdict> + Send + 'static,
        P: Parking,
    {
        self.consume_by(name, concurrency, (handler, None), parking, cancel).await
    }

    /// [`Bus::consume`], where what arrives together is handled in one call. What that does not bring to an end, and
    /// what is delivered too often, goes to `handler` one by one.
    pub async fn consume_together<H, F, P>(
        &self,
        name: ConsumerName,
        concurrency: usize,
        (handler, together): (H, Together),
        parking: Arc<P>,
        cancel: CancellationToken,
    ) -> Result<(), ConsumeError>
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Verdict> + Send + 'static,
        P: Parking,
    {
        self.consume_by(name, concurrency, (handler, Some(together)), parking, cancel).await
    }

    async fn consume_by<H, F, P>(
        &self,
        name: ConsumerName,
        concurrency: usize,
        (handler, together): (H, Option<Together>),
        parking: Arc<P>,
        cancel: CancellationToken,
    ) -> Result<(), ConsumeError>
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Verdict> + Send + 'static,
        P: Parking,
    {
        let (stream, spec) = self.topology().consumer(&name).ok_or_else(|| ConsumeError::Unknown(name.clone()))?;
        let callers = match self.kind.as_ref() {
            // Its groups are no more than one at a time.
            Kind::Embedded(_) => Arc::default(),
            Kind::JetStream(bus) => bus.callers(stream),
        };
        let handlers = (handler, together);
        let worker = Arc::new(consumer::Worker::new(name.clone(), spec.clone(), handlers, callers, parking, cancel));
        match self.kind.as_ref() {
            Kind::Embedded(bus) => consumer::work(worker, bus.supply(stream, &name, spec), concurrency).await,
            Kind::JetStream(bus) => {
                let rescue =
                    |spec: &ConsumerSpec| bus.rescue(stream, spec, Arc::clone(&worker.parking), worker.cancel.clone());
                let bundled = async {
                    let Some((spec, _)) = stream.bundles().filter(|(_, of)| of.name == name.as_str()) else { return };
                    let work = consumer::work(Arc::clone(&worker), bus.bundles(stream, spec), concurrency);
                    tokio::join!(work, rescue(spec));
                };
                let work = consumer::work(Arc::clone(&worker), bus.supply(stream, spec), concurrency);
                tokio::join!(work, rescue(spec), bundled);
            }
        }
        Ok(())
    }

    /// Whether programs outside can subscribe to what is published. The embedded bus has no such subscribers: events
    /// are read from the feed.
    pub fn has_outside_subscribers(&self) -> bool {
        match self.kind.as_ref() {
            Kind::Embedded(_) => false,
            Kind::JetStream(_) => true,
        }
    }

    /// A setting reported by its servers since the start with which it must not be used, such as syncing only after
    /// they acknowledge.
    pub fn objection(&self) -> Option<String> {
        match self.kind.as_ref() {
            Kind::Embedded(_) => None,
            Kind::JetStream(bus) => bus.objection(),
        }
    }

    /// How much of its limit each stream holds, for health and metrics. On NATS what was acknowledged counts until the
    /// duplicate window ends; in the embedded bus only what is outstanding counts.
    pub async fn fill(&self) -> Result<Vec<Fill>, LagError> {
        match self.kind.as_ref() {
            Kind::Embedded(bus) => bus.fill().await,
            Kind::JetStream(bus) => bus.fill().await,
        }
    }

    /// Every stream as it is now, for operators.
    pub async fn streams(&self) -> Result<Vec<StreamView>, LagError> {
        match self.kind.as_ref() {
            Kind::Embedded(bus) => bus.streams().await,
            Kind::JetStream(bus) => bus.streams().await,
        }
    }

    /// The oldest messages of a stream, for operators: read, never taken. None where there is no such stream or
    /// consumer. A page that takes longer than [`PEEK_TIMEOUT`] is an error, however many calls it takes.
    pub async fn peek(&self, peek: &Peek) -> Result<Option<Vec<Peeked>>, LagError> {
        let Some(stream) = self.topology().streams.iter().find(|stream| stream.name == peek.stream) else {
            return Ok(None);
        };
        let consumer = match &peek.consumer {
            None => None,
            Some(name) => match stream.consumers.iter().find(|consumer| consumer.name == *name) {
                Some(consumer) => Some(consumer),
                None => return Ok(None),
            },
        };
        let page = async {
            match self.kind.as_ref() {
                Kind::Embedded(bus) => bus.peek(stream, consumer, peek).await,
                Kind::JetStream(bus) => bus.peek(stream, consumer, peek).await,
            }
        };
        let late = || LagError(format!("the page took longer than {} s", PEEK_TIMEOUT.as_secs()));
        tokio::time::timeout(PEEK_TIMEOUT, page).await.unwrap_or_else(|_| Err(late())).map(Some)
    }

    /// Whether it is a server of its own, and not the database.
    pub fn is_nats(&self) -> bool {
        matches!(self.kind.as_ref(), Kind::JetStream(_))
    }

    /// How far behind each consumer is, for health and metrics, with what [`Bus::counts`] says of this process.
    pub async fn lag(&self) -> Result<Vec<Lag>, LagError> {
        let mut lags = match self.kind.as_ref() {
            Kind::Embedded(bus) => bus.lag().await,
            Kind::JetStream(bus) => bus.lag().await,
        }?;
        if let Some(Accepted { consumer, waits }) = self.accepted.get()
            && let Some(lag) = lags.iter_mut().find(|lag| lag.consumer == *consumer)
        {
            let (messages, oldest) = waits();
            lag.pending += messages;
            lag.oldest_age = lag.oldest_age.max(oldest);
        }
        Ok(lags)
    }

    /// Has the lag of a consumer count what this process accepted for it and keeps elsewhere: how many messages, and
    /// since when the oldest waits. Only the first call has an effect.
    pub fn counts(&self, consumer: ConsumerName, waits: impl Fn() -> (u64, Option<Duration>) + Send + Sync + 'static) {
        let _ = self.accepted.set(Accepted { consumer, waits: Box::new(waits) });
    }
}

fn count(stream: &StreamSpec, outcome: &Result<(), PublishError>) {
    let label = match outcome {
        Ok(()) => "stored",
        Err(PublishError::Unavailable(_)) => "unavailable",
        Err(PublishError::Full) => "full",
        Err(PublishError::TooLarge) => "too_large",
        Err(PublishError::Timeout) => "timeout",
        Err(PublishError::Misdirected(_)) => "misdirected",
    };
    metrics::counter!("wxpay_bus_publishes_total", "stream" => stream.name.clone(), "outcome" => label).increment(1);
}

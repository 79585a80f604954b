//! Deliveries from a durable pull consumer.
//!
//! One inbox for the life of the loop, and a pull request whenever a good part of the free workers has none: never more
//! is asked for than can be worked on, and of all processes together the server keeps some hundred requests of a
//! consumer (`max_waiting`). What must stay true: the count of what is outstanding may be too high for a while (then
//! heartbeats stop and it is set right) but the loop never waits for ever on a request that the server has forgotten,
//! and a request that is refused is made again after a pause.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::BatchConfig;
use async_nats::jetstream::{self, AckKind};
use async_nats::{StatusCode, Subject, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::core::Core;
use super::headers::{from_wire, timestamp};
use super::provision;
use crate::batcher::{Group, Limits};
use crate::bus::ending::Ending;
use crate::bus::subscription::{self, Arrived, Receipt as _, Source};
use crate::bus::topology::ConsumerSpec;

/// How long the server keeps a pull request.
const PULL_EXPIRES: Duration = Duration::from_secs(20);
/// How often it says that it still does.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which the requests count as lost.
const SILENCE: Duration = Duration::from_millis(2500);
/// A request is for at least one of so many free workers, unless nothing is outstanding: a request for each worker that
/// becomes free would use up those that the server keeps.
const PART_OF_FREE: usize = 4;
/// Pauses between attempts to reach the consumer, and before a request that was refused is made again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A consumer's pull requests and what came of them.
pub(in crate::bus) struct Supply {
    core: Arc<Core>,
    stream: String,
    spec: ConsumerSpec,
    waiting: Arc<Waiting>,
    acks: Arc<Acks>,
    line: Option<Line>,
    connections: tokio::sync::watch::Receiver<u64>,
    pause: Duration,
}

/// An inbox and the requests whose messages come there. The reply subject of a request ends with the number of messages
/// that it asks for: what the server says of a request comes to that subject.
struct Line {
    consumer: PullConsumer,
    inbox: Subject,
    messages: Subscriber,
    outstanding: usize,
    heard: Instant,
    /// Nothing is asked for before.
    ask_at: Instant,
    pause: Duration,
}

impl Supply {
    pub(super) fn new(core: Arc<Core>, stream: String, spec: ConsumerSpec) -> Supply {
        let waiting = Arc::new(Waiting::new(spec.max_ack_pending as usize / 4));
        let mut connections = core.connections.clone();
        connections.mark_unchanged();
        let acks = Arc::new(acknowledging(Arc::clone(&core), spec.name.clone()));
        Supply { core, stream, spec, waiting, acks, line: None, connections, pause: RETRY.0 }
    }
}

impl Source for Supply {
    type Receipt = Receipt;

    /// See [`crate::bus::subscription::Source::take`].
    async fn take(&mut self, free: usize) -> Vec<Arrived<Receipt>> {
        loop {
            match self.try_take(free).await {
                Ok(messages) if messages.is_empty() => {}
                Ok(messages) => {
                    self.pause = RETRY.0;
                    return messages.into_iter().filter_map(|m| self.arrived(m)).collect();
                }
                Err(why) => {
                    tracing::warn!(consumer = self.spec.name, why, "the consumer cannot be reached; trying again");
                    self.line = None;
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(RETRY.1);
                }
            }
        }
    }

    /// Nothing is here that was not taken, but for what the open requests bring.
    async fn rest(&mut self) {}

    /// See [`crate::bus::subscription::Source::close`].
    async fn close(mut self) {
        let Some(mut line) = self.line.take() else { return };
        // Nothing new after this; what is in the inbox already goes back at once instead of after the acknowledgement's
        // wait.
        if line.messages.unsubscribe().await.is_err() {
            return;
        }
        while let Some(message) = line.messages.next().await {
            if message.status.is_none()
                && let Some(arrived) = self.arrived(message)
            {
                arrived.receipt.give_back().await;
            }
        }
    }
}

impl Supply {
    async fn try_take(&mut self, free: usize) -> Result<Vec<async_nats::Message>, String> {
        let line = match &mut self.line {
            Some(line) => line,
            none => none.insert(open(&self.core, &self.stream, &self.spec).await?),
        };
        let must_pause = line.ask_at > Instant::now();
        if !must_pause && line.is_short(free) {
            line.ask(free - line.outstanding).await?;
        }
        let first = tokio::select! {
            biased;
            message = line.messages.next() => message.ok_or("the inbox is closed")?,
            changed = self.connections.changed() => {
                changed.map_err(|_| "the client is closed")?;
                // The server forgot the requests of the connection that is gone.
                line.outstanding = 0;
                return Ok(Vec::new());
            }
            () = tokio::time::sleep_until(line.ask_at), if must_pause && line.is_short(free) => return Ok(Vec::new()),
            () = tokio::time::sleep_until(line.heard + SILENCE) => {
                line.outstanding = 0;
                return Err("the server stopped answering".to_owned());
            }
        };
        let mut taken = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            line.heard = Instant::now();
            if let Some(message) = line.sort(message)? {
                taken.push(message);
            }
            next = if taken.len() < free { line.messages.next().now_or_never().flatten() } else { None };
        }
        Ok(taken)
    }

    fn arrived(&self, message: async_nats::Message) -> Option<Arrived<Receipt>> {
        let reply = message.reply.clone()?;
        let message = jetstream::Message { message, context: self.core.context.clone() };
        let Ok(info) = message.info() else {
            tracing::error!(consumer = self.spec.name, "a delivery without a readable reply subject");
            return None;
        };
        let (stream, seq) = (info.stream, info.stream_sequence);
        let (content, alien) = from_wire(&message.subject, &message.payload, message.headers.as_ref(), (stream, seq));
        Some(Arrived {
            message: content,
            on_bus: u32::try_from(info.delivered.max(1)).unwrap_or(u32::MAX),
            published_at: timestamp(info.published),
            first_error: self.waiting.came_back(seq),
            alien,
            apart: false,
            receipt: Receipt {
                seq,
                reply,
                core: Arc::clone(&self.core),
                acks: Arc::clone(&self.acks),
                consumer: self.spec.name.clone(),
                waiting: Arc::clone(&self.waiting),
            },
        })
    }
}

async fn open(core: &Core, stream: &str, spec: &ConsumerSpec) -> Result<Line, String> {
    let consumer: PullConsumer = match core.context.get_consumer_from_stream(&spec.name, stream).await {
        Ok(consumer) => consumer,
        Err(_) => {
            // Most likely the server's storage was wiped.
            provision::bring_into_shape(core).await.map_err(|e| e.to_string())?;
            core.context.get_consumer_from_stream(&spec.name, stream).await.map_err(|e| e.to_string())?
        }
    };
    let inbox = Subject::from(core.client.new_inbox());
    let messages = core.client.subscribe(format!("{inbox}.*")).await.map_err(|e| e.to_string())?;
    let now = Instant::now();
    Ok(Line { consumer, inbox, messages, outstanding: 0, heard: now, ask_at: now, pause: RETRY.0 })
}

impl Line {
    /// Whether another request is to be made for so many free workers.
    fn is_short(&self, free: usize) -> bool {
        let missing = free.saturating_sub(self.outstanding);
        missing > 0 && (self.outstanding == 0 || missing * PART_OF_FREE >= free)
    }

    async fn ask(&mut self, batch: usize) -> Result<(), String> {
        let request =
            BatchConfig { batch, expires: Some(PULL_EXPIRES), idle_heartbeat: HEARTBEAT, ..BatchConfig::default() };
        let reply = Subject::from(format!("{}.{batch}", self.inbox));
        self.consumer.request_batch(request, reply).await.map_err(|e| e.to_string())?;
        self.outstanding += batch;
        self.heard = self.heard.max(Instant::now());
        Ok(())
    }

    /// Waits before the next request, longer each time until a message comes.
    fn put_off(&mut self, why: &str) {
        let now = Instant::now();
        if self.ask_at > now {
            return;
        }
        let consumer = &self.consumer.cached_info().name;
        tracing::warn!(consumer, why, "a request for messages was refused; it is made again");
        self.ask_at = now + self.pause;
        self.pause = (self.pause * 2).min(RETRY.1);
    }

    /// Keeps the count, and passes on what is a message.
    fn sort(&mut self, message: async_nats::Message) -> Result<Option<async_nats::Message>, String> {
        let Some(status) = message.status else {
            self.outstanding = self.outstanding.saturating_sub(1);
            self.pause = RETRY.0;
            return Ok(Some(message));
        };
        let description = message.description.as_deref().unwrap_or_default();
        match status {
            StatusCode::IDLE_HEARTBEAT => Ok(None),
            StatusCode::NO_RESPONDERS => Err("there is no such consumer".to_owned()),
            StatusCode::REQUEST_TERMINATED if description == "Consumer Deleted" => Err(description.to_owned()),
            // A request ended: it expired, and the header tells what it would still have brought. Without that header
            // the server refused it, as where it keeps too many, or the consumer moved to another server.
            _ => {
                let unmet = message.headers.as_ref().and_then(|h| h.get("Nats-Pending-Messages"));
                let unmet = unmet.and_then(|n| n.as_str().parse().ok());
                if unmet.is_none() {
                    self.put_off(description);
                }
                let unmet = unmet.or_else(|| asked_by(&message.subject)).unwrap_or(self.outstanding);
                self.outstanding = self.outstanding.saturating_sub(unmet);
                Ok(None)
            }
        }
    }
}

/// What a request asked for, by the subject of what the server says of it.
fn asked_by(subject: &str) -> Option<usize> {
    subject.rsplit('.').next()?.parse().ok()
}

/// Messages this process asked the server to deliver later. The server remembers neither their errors nor that each of
/// them holds one of the consumer's places, so both are kept here.
pub(super) struct Waiting {
    most: usize,
    messages: Mutex<HashMap<u64, (Instant, String)>>,
}

impl Waiting {
    fn new(most: usize) -> Waiting {
        Waiting { most: most.max(1), messages: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (Instant, String)>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn goes(&self, seq: u64, until: Instant, first_error: &str) {
        let mut messages = self.lock();
        // What came back to another process is never taken out here; it is forgotten a while after it was due.
        if messages.len() > 4 * self.most {
            messages.retain(|_, (until, _)| until.elapsed() < Duration::from_secs(60));
        }
        messages.insert(seq, (until, first_error.to_owned()));
    }

    fn came_back(&self, seq: u64) -> Option<String> {
        self.lock().remove(&seq).map(|(_, first_error)| first_error)
    }

    fn has_room(&self) -> bool {
        let now = Instant::now();
        self.lock().values().filter(|(until, _)| *until > now).count() < self.most
    }
}

/// Acknowledgements of one consumer; `true` when the server has them.
type Acks = Group<Subject, bool>;

/// Acknowledges what waits together, and awaits the server's confirmation of the last one: it works off those of one
/// consumer in the order of the connection. One that is lost with its connection comes again and changes nothing.
fn acknowledging(core: Arc<Core>, consumer: String) -> Acks {
    Group::new(Limits { max_batch: 256, queue: 4096 }, move |batch: Vec<Subject>| {
        let (core, consumer) = (Arc::clone(&core), consumer.clone());
        async move {
            let confirmed = confirmed(&core, &batch).await;
            if let Err(why) = &confirmed {
                tracing::warn!(consumer, error = why, acks = batch.len(), "acknowledgements were not confirmed");
            }
            vec![confirmed.is_ok(); batch.len()]
        }
    })
}

async fn confirmed(core: &Core, batch: &[Subject]) -> Result<(), String> {
    let Some((last, others)) = batch.split_last() else { return Ok(()) };
    for reply in others {
        core.client.publish(reply.clone(), AckKind::Ack.into()).await.map_err(|e| e.to_string())?;
    }
    // Over the client's one reply subscription; the library's own double acknowledgement would subscribe anew.
    core.client.request(last.clone(), AckKind::Ack.into()).await.map(drop).map_err(|e| e.to_string())
}

pub(in crate::bus) struct Receipt {
    core: Arc<Core>,
    acks: Arc<Acks>,
    consumer: String,
    reply: Subject,
    seq: u64,
    waiting: Arc<Waiting>,
}

impl subscription::Receipt for Receipt {
    async fn ack(&self) {
        for pause_ms in [100, 500, 0] {
            if self.acks.run(self.reply.clone()).await == Ok(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        metrics::counter!("wxpay_bus_answers_lost_total", "consumer" => self.consumer.clone()).increment(1);
    }

    fn ending(&self) -> Option<Ending> {
        None
    }

    async fn wait(&self, after: Duration, first_error: &str) {
        self.waiting.goes(self.seq, Instant::now() + after, first_error);
        self.answer(AckKind::Nak(Some(after))).await;
    }

    async fn give_back(&self) {
        self.answer(AckKind::Nak(None)).await;
    }

    async fn keep_alive(&self) {
        self.answer(AckKind::Progress).await;
    }

    fn has_room(&self) -> bool {
        self.waiting.has_room()
    }
}

impl Receipt {
    /// Lost answers of these kinds cost only time: the delivery comes again after the consumer's `ack_wait`.
    async fn answer(&self, answer: AckKind) {
        if let Err(e) = self.core.client.publish(self.reply.clone(), answer.into()).await {
            tracing::warn!(consumer = self.consumer, error = %e, "an answer was not sent");
        }
    }
}

//! Brings streams and consumers into the topology's shape, and keeps them in it.
//!
//! What must stay true: nothing is ever deleted or recreated to fit. What the server cannot change in place (the
//! storage, the kind of retention) stops the start with words, because recreating a stream loses what is in it.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind, UpdateStreamError};
use async_nats::jetstream::stream::{
    self, ConsumerErrorKind, ConsumerUpdateErrorKind, DiscardPolicy, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{Context, ErrorCode};
use tokio::time::Instant;

use super::connect::{inspect_again, version};
use super::core::Core;
use super::purge::make_space;
use crate::bus::topology::{ConsumerSpec, Discard, StreamSpec};
use crate::bus::types::ConnectError;
use crate::config;
use crate::retry::{Policy, retry_while};

/// How often the shape of streams and the space they take are checked.
const CARE_EVERY: Duration = Duration::from_secs(30);
/// Who notices that something is gone within this time after it was made right, waits instead.
const NOT_SOONER_THAN: Duration = Duration::from_secs(1);
/// The first version with atomic batches.
const FIRST_ATOMIC: (u64, u64) = (2, 12);

/// A cluster that elects a leader answers again after a few seconds.
const AT_START: Policy = Policy {
    initial: Duration::from_millis(200),
    max: Duration::from_secs(2),
    tries: 8,
    deadline: Duration::from_secs(20),
};

/// [`bring_into_shape`], again while the servers do not answer: each step of it may be repeated.
pub(super) async fn at_start(core: &Core) -> Result<(), ConnectError> {
    let unanswered = |result: &Result<(), ConnectError>| matches!(result, Err(ConnectError::Unanswered(_)));
    retry_while(AT_START, || bring_into_shape(core), unanswered).await
}

/// Makes what is missing and changes what differs. Many callers at once do it once.
pub(super) async fn bring_into_shape(core: &Core) -> Result<(), ConnectError> {
    let mut shaped_at = core.shaped_at.lock().await;
    if shaped_at.is_some_and(|at| at.elapsed() < NOT_SOONER_THAN) {
        return Ok(());
    }
    let offered = version(&core.client.server_info().version) >= FIRST_ATOMIC;
    let mut atomic = offered;
    for spec in &core.topology.streams {
        let (stream, has_atomic) = shape_stream(core, spec, offered).await?;
        atomic &= has_atomic;
        for consumer in &spec.consumers {
            shape_consumer(&stream, consumer).await?;
        }
    }
    core.atomic.store(atomic, Ordering::Relaxed);
    *shaped_at = Some(Instant::now());
    Ok(())
}

async fn shape_stream(
    core: &Core,
    spec: &StreamSpec,
    atomic: bool,
) -> Result<(stream::Stream<stream::Info>, bool), ConnectError> {
    let wanted = wanted_stream(core, spec, atomic);
    let failed =
        |what: &str, late: bool, e: &dyn Display| not_done(&format!("stream {} was not {what}", spec.name), late, e);
    let existing = match core.context.get_stream(&spec.name).await {
        Ok(stream) => stream,
        Err(e) if is_missing(&e.kind()) => {
            tracing::info!(stream = spec.name, "creating the stream");
            let created = core.context.create_stream(wanted).await;
            let created =
                created.map_err(|e| failed("created", matches!(e.kind(), CreateStreamErrorKind::TimedOut), &e))?;
            return Ok((created, atomic));
        }
        Err(e) => return Err(failed("found", matches!(e.kind(), GetStreamErrorKind::Request), &e)),
    };
    let found = existing.cached_info().config.clone();
    if found.retention != wanted.retention || found.storage != wanted.storage {
        return Err(ConnectError::Shape(format!(
            "stream {} has another retention or storage than nats/topology.toml sets and cannot be \
             changed in place; move its messages elsewhere and delete it",
            spec.name
        )));
    }
    // What others added (metadata, placement, republish, …) stays.
    let mut changed = found.clone();
    changed.subjects.clone_from(&wanted.subjects);
    changed.discard = wanted.discard;
    changed.max_bytes = wanted.max_bytes;
    changed.max_messages = wanted.max_messages;
    changed.max_age = wanted.max_age;
    changed.max_message_size = wanted.max_message_size;
    changed.duplicate_window = wanted.duplicate_window;
    changed.num_replicas = wanted.num_replicas;
    changed.allow_atomic_publish |= wanted.allow_atomic_publish;
    let atomic = atomic && changed.allow_atomic_publish;
    if changed != found {
        tracing::info!(stream = spec.name, "updating the stream");
        let late = |e: &UpdateStreamError| matches!(e.kind(), CreateStreamErrorKind::TimedOut);
        update(&core.context, &changed).await.map_err(|e| failed("updated", late(&e), &e))?;
    }
    Ok((existing, atomic))
}

pub(super) fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn not_done(what: &str, late: bool, e: &dyn Display) -> ConnectError {
    let text = format!("{what}: {e}");
    if late { ConnectError::Unanswered(text) } else { ConnectError::Shape(text) }
}

async fn update(context: &Context, config: &stream::Config) -> Result<(), UpdateStreamError> {
    context.update_stream(config).await.map(|_| ())
}

fn wanted_stream(core: &Core, spec: &StreamSpec, atomic: bool) -> stream::Config {
    stream::Config {
        name: spec.name.clone(),
        subjects: spec.subjects.clone(),
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        // Can be changed in place; a stream that is made smaller at the same time drops nothing unless configured to.
        discard: match spec.discard {
            Discard::New => DiscardPolicy::New,
            Discard::Old => DiscardPolicy::Old,
        },
        max_bytes: if core.max_bytes > 0 { core.max_bytes } else { -1 },
        max_messages: spec.max_messages.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1),
        max_messages_per_subject: -1,
        max_consumers: -1,
        max_message_size: i32::try_from(spec.max_message_bytes).unwrap_or(i32::MAX),
        max_age: Duration::from_secs(spec.max_age_hours.saturating_mul(3600)),
        duplicate_window: Duration::from_millis(spec.duplicate_window_ms),
        num_replicas: core.replicas,
        allow_direct: true,
        allow_atomic_publish: atomic,
        ..stream::Config::default()
    }
}

/// A durable pull consumer. The server never gives up on a message by itself (`max_deliver` has no limit): a message it
/// gave up on would stay in the stream, where no consumer reads it, while ours are dead-lettered at their last attempt.
fn wanted_consumer(spec: &ConsumerSpec) -> pull::Config {
    pull::Config {
        durable_name: Some(spec.name.clone()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: spec.ack_wait(),
        max_deliver: -1,
        max_ack_pending: i64::from(spec.max_ack_pending),
        filter_subject: spec.filter.clone(),
        ..pull::Config::default()
    }
}

async fn shape_consumer(stream: &stream::Stream<stream::Info>, spec: &ConsumerSpec) -> Result<(), ConnectError> {
    let wanted = wanted_consumer(spec);
    let failed =
        |what: &str, late: bool, e: &dyn Display| not_done(&format!("consumer {} was not {what}", spec.name), late, e);
    let found: Option<consumer::Info> = stream.consumer_info(&spec.name).await.ok();
    let Some(found) = found else {
        tracing::info!(consumer = spec.name, "creating the consumer");
        let created = stream.create_consumer(wanted).await;
        created.map_err(|e| failed("created", matches!(e.kind(), ConsumerErrorKind::TimedOut), &e))?;
        return Ok(());
    };
    let same = found.config.ack_wait == wanted.ack_wait
        && found.config.max_deliver == wanted.max_deliver
        && found.config.max_ack_pending == wanted.max_ack_pending
        && found.config.filter_subject == wanted.filter_subject;
    if !same {
        tracing::info!(consumer = spec.name, "updating the consumer");
        let updated = stream.update_consumer(wanted).await;
        updated.map_err(|e| failed("updated", matches!(e.kind(), ConsumerUpdateErrorKind::TimedOut), &e))?;
    }
    Ok(())
}

/// Maintains the streams and keeps checking what their servers guarantee, for as long as the bus is open.
pub(super) async fn take_care(core: Arc<Core>, settings: config::Bus) {
    loop {
        tokio::time::sleep(CARE_EVERY).await;
        // A server may come back with another setting, or be heard for the first time.
        let objection = inspect_again(&settings, &core.client).await.err().map(|e| e.to_string());
        if let Some(objection) = &objection {
            tracing::error!(objection, "a NATS server does not keep what was accepted");
        }
        core.objection.send_replace(objection);
        if let Err(e) = bring_into_shape(&core).await {
            tracing::warn!(error = %e, "streams could not be checked");
            continue;
        }
        for spec in &core.topology.streams {
            if let Err(e) = make_space(&core, spec).await {
                tracing::warn!(error = e, stream = spec.name, "no space was made");
            }
        }
    }
}

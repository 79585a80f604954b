//! Dead-letters deliveries that the server gave up on.
//!
//! Our consumers have no `max_deliver`, so it should not give up on any. An operator or an older process may set one: a
//! pull of whichever client then ends a message that was delivered so often. The server sends an advisory once and
//! leaves the message in the stream, where no consumer reads it, also not once `max_deliver` is corrected. A stream of
//! its own keeps the advisories, also while no worker runs; each becomes a dead letter like any other.
//!
//! Of a bundle the members wait in the database, to become messages of their own: what ended its worker is one of them.
//!
//! What must stay true: an advisory is acknowledged after its dead letter is stored. Parking twice changes nothing.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::headers::{from_wire, timestamp};
use crate::bus::bundle;
use crate::bus::dead_letter::{Deferred, Leaving, Parked, Parking, ParkingError};
use crate::bus::topology::{ConsumerName, ConsumerSpec, StreamSpec};
use crate::bus::verdict::EXHAUSTED;

const PAUSE: Duration = Duration::from_secs(1);
/// An advisory has a few hundred bytes.
const MAX_BYTES: i64 = 16 * 1024 * 1024;
/// Longer than storing a dead letter takes; while the database is away it comes again.
const ACK_WAIT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Advisory {
    stream_seq: u64,
    deliveries: u32,
}

/// Works until cancelled.
pub(super) async fn watch<P: Parking>(
    core: Arc<Core>,
    stream: StreamSpec,
    spec: ConsumerSpec,
    parking: Arc<P>,
    cancel: CancellationToken,
) {
    let listening = async {
        loop {
            if let Err(why) = work_off(&core, &stream, &spec, parking.as_ref()).await {
                tracing::warn!(consumer = spec.name, why, "what the server gives up on cannot be read; trying again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = listening => {}
    }
}

/// Parks what the server gave up on, one after the other, one process of many each. Ends with an error alone.
async fn work_off<P: Parking>(
    core: &Core,
    stream: &StreamSpec,
    spec: &ConsumerSpec,
    parking: &P,
) -> Result<(), String> {
    let mut advisories = open(core, stream, spec).await?.messages().await.map_err(|e| e.to_string())?;
    while let Some(advisory) = advisories.next().await {
        let advisory = advisory.map_err(|e| e.to_string())?;
        match serde_json::from_slice::<Advisory>(&advisory.payload) {
            Ok(content) => park(core, stream, spec, parking, &content).await,
            Err(e) => tracing::warn!(error = %e, "an advisory could not be read"),
        }
        advisory.double_ack().await.map_err(|e| e.to_string())?;
    }
    Err("the subscription has ended".to_owned())
}

/// The consumer of the advisories about ours, in the stream that keeps them. Both are made where they are missing.
async fn open(core: &Core, stream: &StreamSpec, spec: &ConsumerSpec) -> Result<PullConsumer, String> {
    let about = format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{}", stream.name);
    let kept = stream::Config {
        name: format!("{}_GIVEN_UP", stream.name),
        description: Some("Which messages the server gave up on, until they are dead letters".to_owned()),
        subjects: vec![format!("{about}.*")],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_bytes: MAX_BYTES,
        // Of older ones the message is gone as well.
        max_age: Duration::from_secs(stream.max_age_hours.saturating_mul(3600)),
        num_replicas: core.replicas,
        ..stream::Config::default()
    };
    let name = format!("rescue-{}", spec.name);
    let consumer = pull::Config {
        durable_name: Some(name.clone()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        filter_subject: format!("{about}.{}", spec.name),
        ..pull::Config::default()
    };
    let stream = core.context.get_or_create_stream(kept).await.map_err(|e| e.to_string())?;
    stream.get_or_create_consumer(&name, consumer).await.map_err(|e| e.to_string())
}

async fn park<P: Parking>(core: &Core, stream: &StreamSpec, spec: &ConsumerSpec, parking: &P, advisory: &Advisory) {
    let Advisory { stream_seq, deliveries } = *advisory;
    loop {
        match try_park(core, stream, spec, parking, stream_seq, deliveries).await {
            Ok(()) => return,
            Err(why) => tracing::warn!(consumer = spec.name, stream_seq, why, "a given-up message is not parked yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn try_park<P: Parking>(
    core: &Core,
    of: &StreamSpec,
    spec: &ConsumerSpec,
    parking: &P,
    stream_seq: u64,
    deliveries: u32,
) -> Result<(), String> {
    let handle = core.context.get_stream_no_info(&of.name).await.map_err(|e| e.to_string())?;
    let raw = match handle.get_raw_message(stream_seq).await {
        Ok(raw) => raw,
        Err(e) => {
            let is_gone = e.kind() == stream::LastRawMessageErrorKind::NoMessageFound;
            if is_gone {
                // Aged out, or removed by a person.
                tracing::error!(consumer = spec.name, stream_seq, "a message that the server gave up on is gone");
            }
            return if is_gone { Ok(()) } else { Err(e.to_string()) };
        }
    };
    let (message, _) = from_wire(&raw.subject, &raw.payload, Some(&raw.headers), (&of.name, stream_seq));
    let why = format!("the server gave up after {deliveries} deliveries");
    if let (Some(of), Some(members)) = (&spec.bundles, bundle::open(&message)) {
        for message in members {
            let message = message.after_attempts(1, &why);
            let (consumer, why) = (ConsumerName::new(of.clone()), why.clone());
            let deferred = Deferred { message, consumer, attempts: 1, due_in: Duration::ZERO, why };
            stored(Leaving::Deferred(deferred), parking, (spec, stream_seq)).await?;
        }
        return Ok(());
    }
    let parked = Parked {
        consumer: ConsumerName::new(spec.name.clone()),
        reason: EXHAUSTED,
        first_error: message.header(crate::bus::message::FIRST_ERROR).unwrap_or(&why).to_owned(),
        last_error: why,
        attempts: message.earlier_attempts().saturating_add(deliveries),
        published_at: timestamp(raw.time),
        message,
    };
    stored(Leaving::Parked(parked), parking, (spec, stream_seq)).await
}

/// Has the database take it, in plain texts where it refuses others.
async fn stored<P: Parking>(
    leaving: Leaving,
    parking: &P,
    (spec, stream_seq): (&ConsumerSpec, u64),
) -> Result<(), String> {
    let stored = match leaving.clone().store(parking).await {
        Err(ParkingError::Impossible(_)) => leaving.plain().store(parking).await,
        outcome @ (Ok(()) | Err(ParkingError::Unavailable(_))) => outcome,
    };
    match stored {
        Ok(()) => Ok(()),
        Err(ParkingError::Unavailable(why)) => Err(why),
        Err(ParkingError::Impossible(why)) => {
            // It stays in the stream until it is too old. Trying on would keep the next ones from being parked.
            tracing::error!(consumer = spec.name, stream_seq, why, "a given-up message cannot be parked");
            Ok(())
        }
    }
}

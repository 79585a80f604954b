//! Dead-letters deliveries that the server gave up on.
//!
//! Our consumers have no `max_deliver`, so it should not give up on any. An operator or an older process may set one;
//! the server then sends an advisory once and leaves the message in the stream, where no consumer reads it. Here it
//! becomes a dead letter like any other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::headers::{from_wire, timestamp};
use crate::bus::dead_letter::{Leaving, Parked, Parking, ParkingError};
use crate::bus::topology::{ConsumerName, ConsumerSpec, StreamSpec};
use crate::bus::verdict::EXHAUSTED;

const PAUSE: Duration = Duration::from_secs(1);

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
    let subject = format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{}.{}", stream.name, spec.name);
    let listening = async {
        loop {
            // One process of many.
            match core.client.queue_subscribe(subject.clone(), "wxpay-rescue".to_owned()).await {
                Ok(mut advisories) => {
                    while let Some(advisory) = advisories.next().await {
                        match serde_json::from_slice::<Advisory>(&advisory.payload) {
                            Ok(advisory) => park(&core, &stream, &spec, parking.as_ref(), &advisory).await,
                            Err(e) => tracing::warn!(error = %e, "an advisory could not be read"),
                        }
                    }
                }
                Err(e) => tracing::warn!(error = %e, "advisories cannot be subscribed to"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = listening => {}
    }
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
    stream: &StreamSpec,
    spec: &ConsumerSpec,
    parking: &P,
    stream_seq: u64,
    deliveries: u32,
) -> Result<(), String> {
    let handle = core.context.get_stream_no_info(&stream.name).await.map_err(|e| e.to_string())?;
    let raw = match handle.get_raw_message(stream_seq).await {
        Ok(raw) => raw,
        Err(e) => {
            // Aged out, or removed by a person.
            let gone = e.kind() == async_nats::jetstream::stream::LastRawMessageErrorKind::NoMessageFound;
            return if gone { Ok(()) } else { Err(e.to_string()) };
        }
    };
    let (message, _) = from_wire(&raw.subject, &raw.payload, Some(&raw.headers), (&stream.name, stream_seq));
    let why = format!("the server gave up after {deliveries} deliveries");
    let parked = Parked {
        consumer: ConsumerName::new(spec.name.clone()),
        reason: EXHAUSTED,
        first_error: message.header(crate::bus::message::FIRST_ERROR).unwrap_or(&why).to_owned(),
        last_error: why,
        attempts: message.earlier_attempts().saturating_add(deliveries),
        published_at: timestamp(raw.time),
        message,
    };
    let leaving = Leaving::Parked(parked);
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

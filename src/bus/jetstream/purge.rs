//! Frees space in a stream that gets full, by removing messages that no consumer can need any more.
//!
//! It is not retention: the server removes expired messages by itself. What must stay true: a message that one consumer
//! of the topology has not acknowledged is never removed, and neither is one that is younger than the duplicate window.
//! Its publisher received an acknowledgement. When in doubt nothing is removed: a full stream rejects, and rejected
//! publishes are retried.

use std::time::Duration;

use async_nats::jetstream::stream::{Info, RawMessageErrorKind, Stream};
use futures_util::TryStreamExt;
use tokio::time::Instant;

use super::core::Core;
use super::headers::timestamp;
use crate::bus::topology::StreamSpec;
use crate::clock::{Clock, Timestamp};

/// Every publisher that meets a full stream requests a purge; one runs at most this often.
const NOT_SOONER_THAN: Duration = Duration::from_secs(1);

/// In a stream that is more than half full, removes what every consumer has acknowledged and the duplicate window has
/// passed: the server rebuilds that window from the stream when it starts.
pub(super) async fn make_space(core: &Core, spec: &StreamSpec) -> Result<(), String> {
    let mut cleared_at = core.cleared_at.lock().await;
    if !spec.purge_acknowledged || cleared_at.is_some_and(|at| at.elapsed() < NOT_SOONER_THAN) {
        return Ok(());
    }
    *cleared_at = Some(Instant::now());
    let stream = core.context.get_stream(&spec.name).await.map_err(|e| e.to_string())?;
    let state = &stream.cached_info().state;
    if core.max_bytes <= 0 || state.bytes < u64::try_from(core.max_bytes / 2).unwrap_or(u64::MAX) {
        return Ok(());
    }
    let floor = acknowledged_floor(&stream, spec).await?;
    let keep_from = first_young(&stream, state.first_sequence, floor, Duration::from_millis(spec.duplicate_window_ms));
    let keep_from = keep_from.await?;
    if keep_from > state.first_sequence {
        tracing::info!(stream = spec.name, keep_from, "removing acknowledged messages to make space");
        stream.purge().sequence(keep_from).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// The number up to which every consumer has acknowledged everything.
///
/// An acknowledgement floor only ever lags behind, so an old answer keeps too much and never too little. The stream's
/// last number says nothing about a consumer, even about one that claims to have nothing left: the two have leaders of
/// their own, and a consumer's may not have heard of the newest messages. A consumer that is missing will be made again
/// and start at the beginning.
async fn acknowledged_floor(stream: &Stream<Info>, spec: &StreamSpec) -> Result<u64, String> {
    let mut floor = u64::MAX;
    for consumer in &spec.consumers {
        let info = stream.consumer_info(&consumer.name).await;
        let info = info.map_err(|e| format!("the progress of consumer {} cannot be read: {e}", consumer.name))?;
        floor = floor.min(info.ack_floor.stream_sequence);
    }
    if spec.consumers.is_empty() {
        return Ok(0);
    }
    // Besides ours, those that only another version of this program knows.
    let mut others = stream.consumers();
    while let Some(info) = others.try_next().await.map_err(|e| e.to_string())? {
        floor = floor.min(info.ack_floor.stream_sequence);
    }
    Ok(floor)
}

/// The first number between `first` and just after `floor` whose message is younger than `window`. Numbers grow with
/// time, so halving finds it.
async fn first_young(stream: &Stream<Info>, first: u64, floor: u64, window: Duration) -> Result<u64, String> {
    let now = Clock::system().now();
    let (mut low, mut high) = (first, floor.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        match stored_from(stream, middle).await? {
            // What lies between `middle` and this message is gone already.
            Some((sequence, stored_at)) if now.since(stored_at) > window => low = sequence.saturating_add(1).min(high),
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// The first message from this number on, and when it was stored. The stream's leader answers.
async fn stored_from(stream: &Stream<Info>, sequence: u64) -> Result<Option<(u64, Timestamp)>, String> {
    match stream.get_first_raw_message_by_subject(">", sequence).await {
        Ok(message) => Ok(Some((message.sequence, timestamp(message.time)))),
        Err(e) if matches!(e.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

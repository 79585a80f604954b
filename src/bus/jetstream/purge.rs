//! Frees space in a stream that gets full, by removing messages that no consumer can need any more.
//!
//! It is not retention: the server removes expired messages by itself. What must stay true: a message that one consumer
//! of the topology has not acknowledged is never removed, and neither is one that is younger than the duplicate window.
//! Its publisher received an acknowledgement. When in doubt nothing is removed: a full stream rejects, and rejected
//! publishes are retried.

use std::time::Duration;

use async_nats::jetstream::consumer;
use async_nats::jetstream::stream::{Info, RawMessageErrorKind, Stream};
use futures_util::TryStreamExt;
use tokio::time::Instant;

use super::core::Core;
use super::headers::timestamp;
use crate::bus::topology::{ConsumerSpec, StreamSpec, overlap};
use crate::clock::{Clock, Timestamp};

/// Every publisher that meets a full stream requests a purge; one runs at most this often.
const NOT_SOONER_THAN: Duration = Duration::from_secs(1);

/// In a stream that is more than half full, removes what every consumer has acknowledged and the duplicate window has
/// passed: the server rebuilds that window from the stream when it starts.
pub(super) async fn make_space(core: &Core, spec: &StreamSpec) -> Result<(), String> {
    let mut cleared_at = core.cleared_at.lock().await;
    if !spec.purge_acknowledged
        || spec.consumers.is_empty()
        || cleared_at.is_some_and(|at| at.elapsed() < NOT_SOONER_THAN)
    {
        return Ok(());
    }
    *cleared_at = Some(Instant::now());
    let stream = core.context.get_stream(&spec.name).await.map_err(|e| e.to_string())?;
    if !is_half_full(core, &stream) {
        return Ok(());
    }
    let progress = progress_of_all(&stream, spec).await?;
    let window = Duration::from_millis(spec.duplicate_window_ms);
    let floor = progress.iter().map(|p| p.floor).min().unwrap_or(0);
    let (first, keep_from) = keep_from(&stream, floor, window).await?;
    if keep_from > first {
        tracing::info!(stream = spec.name, keep_from, "removing acknowledged messages to make space");
        stream.purge().sequence(keep_from).await.map_err(|e| e.to_string())?;
    }
    if is_half_full(core, &core.context.get_stream(&spec.name).await.map_err(|e| e.to_string())?) {
        make_space_by_consumer(&stream, spec, &progress, window).await?;
    }
    Ok(())
}

/// A consumer that gets little work, such as that of refunds, stands at the last message it acknowledged, however old.
/// It must not hold what the others have acknowledged: of each consumer's own subjects, what all consumers of these
/// have acknowledged is removed.
async fn make_space_by_consumer(
    stream: &Stream<Info>,
    spec: &StreamSpec,
    progress: &[Progress],
    window: Duration,
) -> Result<(), String> {
    for ConsumerSpec { name, filter, .. } in &spec.consumers {
        let floor = progress.iter().filter(|p| p.may_read(filter)).map(|p| p.floor).min().unwrap_or(0);
        let (first, keep_from) = keep_from(stream, floor, window).await?;
        if keep_from > first {
            tracing::debug!(stream = spec.name, consumer = name, keep_from, "removing what a consumer acknowledged");
            stream.purge().filter(filter).sequence(keep_from).await.map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn is_half_full(core: &Core, stream: &Stream<Info>) -> bool {
    let half = u64::try_from(core.max_bytes / 2).unwrap_or(u64::MAX);
    core.max_bytes > 0 && stream.cached_info().state.bytes >= half
}

/// How far a consumer has acknowledged everything of its subjects.
struct Progress {
    /// None: it reads all.
    filters: Vec<String>,
    /// Only ever lags behind, so an old answer keeps too much and never too little. The stream's last number says
    /// nothing about a consumer, even about one that claims to have nothing left: the two have leaders of their own,
    /// and a consumer's may not have heard of the newest messages.
    floor: u64,
}

impl Progress {
    fn of(info: &consumer::Info) -> Progress {
        let (one, several) = (&info.config.filter_subject, &info.config.filter_subjects);
        let filters = several.iter().chain([one]).filter(|filter| !filter.is_empty()).cloned().collect();
        Progress { filters, floor: info.ack_floor.stream_sequence }
    }

    fn may_read(&self, subjects: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| overlap(filter, subjects))
    }
}

/// Of ours, all of which must be there: one that is missing will be made again and start at the beginning. And of those
/// that only another version of this program knows.
async fn progress_of_all(stream: &Stream<Info>, spec: &StreamSpec) -> Result<Vec<Progress>, String> {
    let mut all = Vec::new();
    for consumer in &spec.consumers {
        let info = stream.consumer_info(&consumer.name).await;
        let info = info.map_err(|e| format!("the progress of consumer {} cannot be read: {e}", consumer.name))?;
        all.push(Progress::of(&info));
    }
    let mut others = stream.consumers();
    while let Some(info) = others.try_next().await.map_err(|e| e.to_string())? {
        all.push(Progress::of(&info));
    }
    Ok(all)
}

/// The first number of the stream, and the first one up to `floor` that is too young to go.
async fn keep_from(stream: &Stream<Info>, floor: u64, window: Duration) -> Result<(u64, u64), String> {
    let first = stream.cached_info().state.first_sequence;
    Ok((first, first_young(stream, first, floor, window).await?))
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

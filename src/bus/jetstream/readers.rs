//! Whether a living process reads bundles.
//!
//! A process of the version before has no consumer of them. So bundles are sent only while their consumer has requests
//! for messages waiting at the server, or moved on lately: what is sent otherwise is single messages, which every
//! version reads. What must stay true: an answer that is late, or old, counts as no.

use std::time::Duration;

use async_nats::jetstream::Context;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::bus::topology::{ConsumerSpec, StreamSpec};

/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(2);
/// Two answers between which the consumer moved on are no further apart: under load no request may be waiting.
const LATELY: Duration = Duration::from_secs(10);
/// Publishers wait for the answer.
const TIMEOUT: Duration = Duration::from_millis(500);

/// What is known of the consumer of one stream's bundles.
#[derive(Default)]
pub(super) struct Readers(Mutex<Option<Seen>>);

#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    are_there: bool,
    /// How far it had been delivered to, and acknowledged. None where that is not known.
    progress: Option<(u64, u64)>,
}

impl Readers {
    /// Asks the server where the last answer is too old.
    pub async fn are_there(&self, context: &Context, stream: &StreamSpec, spec: &ConsumerSpec) -> bool {
        let mut known = self.0.lock().await;
        if let Some(seen) = known.filter(|seen| seen.at.elapsed() < FRESH) {
            return seen.are_there;
        }
        let found = tokio::time::timeout(TIMEOUT, asked(context, stream, spec)).await.ok().flatten();
        let at = Instant::now();
        let (progress, waiting) = match found {
            Some((progress, waiting)) => (Some(progress), waiting),
            None => (None, 0),
        };
        let moved = known.is_some_and(|before| {
            let both = before.progress.zip(progress);
            before.at.elapsed() <= LATELY && both.is_some_and(|(before, now)| before != now)
        });
        let are_there = waiting > 0 || moved;
        if known.is_none_or(|before| before.are_there != are_there) {
            tracing::info!(consumer = spec.name, are_there, "whether a process reads bundles");
        }
        *known = Some(Seen { at, are_there, progress });
        are_there
    }
}

/// How far the consumer is, and how many requests wait.
async fn asked(context: &Context, stream: &StreamSpec, spec: &ConsumerSpec) -> Option<((u64, u64), usize)> {
    let stream = context.get_stream_no_info(&stream.name).await.ok()?;
    let info = stream.consumer_info(&spec.name).await.ok()?;
    Some(((info.delivered.consumer_sequence, info.ack_floor.consumer_sequence), info.num_waiting))
}

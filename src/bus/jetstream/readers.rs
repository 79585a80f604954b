//! Whether a living process reads bundles.
//!
//! A process of the version before has no consumer of them. So bundles are sent only while their consumer has requests
//! for messages waiting at the server, or moved on lately: what is sent otherwise is single messages, which every
//! version reads. What must stay true: an answer that is late, or old, counts as no; a server that does not answer
//! holds up no publisher for longer than once a moment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::bus::topology::{ConsumerSpec, StreamSpec};

/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(2);
/// An answer that is older is renewed, while it counts.
const RENEWED: Duration = Duration::from_secs(1);
/// Two answers between which the consumer moved on are no further apart: under load no request may be waiting.
const LATELY: Duration = Duration::from_secs(10);
/// Publishers wait no longer for an answer, and only of a server that answered before.
const A_MOMENT: Duration = Duration::from_millis(250);
/// How long the server has for its answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What is known of the consumer of one stream's bundles.
pub(super) struct Readers {
    seen: watch::Sender<Option<Seen>>,
    /// Since when the server is asked.
    asked: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    are_there: bool,
    /// How far it had been delivered to, and acknowledged. None where the server did not answer.
    progress: Option<(u64, u64)>,
}

impl Seen {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH
    }
}

/// Whom to ask, and of what.
pub(super) type Question<'a> = (&'a Context, &'a StreamSpec, &'a ConsumerSpec);

impl Readers {
    pub fn new() -> Arc<Readers> {
        Arc::new(Readers { seen: watch::Sender::new(None), asked: Mutex::new(None) })
    }

    /// What is known, for publishers with callers that wait. The server is asked beside them.
    pub async fn are_there(self: &Arc<Self>, question: Question<'_>) -> bool {
        let mut answers = self.seen.subscribe();
        let seen = *answers.borrow_and_update();
        if let Some(seen) = seen.filter(Seen::is_fresh) {
            if seen.at.elapsed() > RENEWED {
                self.ask(question);
            }
            return seen.are_there;
        }
        let asked_at = self.ask(question);
        if seen.is_some_and(|seen| seen.progress.is_none()) {
            return false;
        }
        // Those that come while an answer is late do not wait once more.
        let answered = tokio::time::timeout_at(asked_at + A_MOMENT, answers.changed()).await;
        let seen = *answers.borrow();
        answered.is_ok() && seen.is_some_and(|seen| seen.are_there)
    }

    /// The server's answer, for those that have time; nothing where it gives none.
    pub async fn answer(self: &Arc<Self>, question: Question<'_>) -> Option<bool> {
        let mut answers = self.seen.subscribe();
        // The first may have been asked over a connection that is gone.
        for _ in 0..2 {
            let seen = *answers.borrow_and_update();
            if let Some(seen) = seen.filter(|seen| seen.is_fresh() && seen.progress.is_some()) {
                return Some(seen.are_there);
            }
            self.ask(question);
            if tokio::time::timeout(2 * TIMEOUT, answers.changed()).await.is_err() {
                return None;
            }
        }
        let seen = *answers.borrow();
        seen.filter(|seen| seen.progress.is_some()).map(|seen| seen.are_there)
    }

    /// Has the server asked, once at a time; since when.
    fn ask(self: &Arc<Self>, (context, stream, spec): Question<'_>) -> Instant {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = *asked {
            return at;
        }
        let now = Instant::now();
        *asked = Some(now);
        let (readers, context, stream, spec) = (Arc::clone(self), context.clone(), stream.clone(), spec.clone());
        tokio::spawn(async move {
            let found = tokio::time::timeout(TIMEOUT, answer(&context, &stream, &spec)).await.ok().flatten();
            *readers.asked.lock().unwrap_or_else(PoisonError::into_inner) = None;
            readers.learn(found, &spec.name);
        });
        now
    }

    fn learn(&self, found: Option<((u64, u64), usize)>, consumer: &str) {
        let known = *self.seen.borrow();
        let (progress, waiting) = found.map_or((None, 0), |(progress, waiting)| (Some(progress), waiting));
        let moved = known.is_some_and(|before| {
            let both = before.progress.zip(progress);
            before.at.elapsed() <= LATELY && both.is_some_and(|(before, now)| before != now)
        });
        let are_there = waiting > 0 || moved;
        if known.is_none_or(|before| before.are_there != are_there) {
            tracing::info!(consumer, are_there, "whether a process reads bundles");
        }
        self.seen.send_replace(Some(Seen { at: Instant::now(), are_there, progress }));
    }
}

/// How far the consumer is, and how many requests wait.
async fn answer(context: &Context, stream: &StreamSpec, spec: &ConsumerSpec) -> Option<((u64, u64), usize)> {
    let stream = context.get_stream_no_info(&stream.name).await.ok()?;
    let info = stream.consumer_info(&spec.name).await.ok()?;
    Some(((info.delivered.consumer_sequence, info.ack_floor.consumer_sequence), info.num_waiting))
}

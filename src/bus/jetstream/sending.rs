//! Sending to one stream: in atomic batches, or singly.
//!
//! A server that syncs before it acknowledges can do so a few thousand times a second, however many publish at once. An
//! atomic batch (NATS 2.12) is synced once, so a batch of two hundred is ten times as fast. Few messages are faster
//! without one. They, and those of a batch that is refused or not offered, go singly: all are sent, then all
//! acknowledgements awaited.
//!
//! What must stay true: a message counts as stored only by an acknowledgement that covers it. Repeating one is
//! harmless, because the server knows its key for ten minutes.

use std::collections::HashSet;
use std::error::Error as _;
use std::sync::atomic::Ordering;

use async_nats::HeaderMap;
use async_nats::client::RequestErrorKind;
use async_nats::jetstream::context::{PublishError as WireError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, ErrorCode};
use futures_util::future::join_all;
use serde::Deserialize;

use super::core::Core;
use super::headers::to_wire;
use super::{provision, purge};
use crate::bus::message::Message;
use crate::bus::topology::StreamSpec;
use crate::bus::types::{PUBLISH_TIMEOUT, PublishError};

/// What a batch costs whatever its size is as much as the syncs of so many single messages: `docs/queue.md`.
const MIN_BATCH: usize = 12;
/// The server's own limit is 1000.
const MAX_BATCH: usize = 500;
/// A batch is held in the server's memory until its last message.
const MAX_BATCH_BYTES: usize = 4 << 20;

pub(super) type Outcome = Result<(), PublishError>;

/// One message by itself, at once.
pub(super) async fn send_alone(core: &Core, stream: &StreamSpec, message: Message) -> Outcome {
    let lost = || Err(PublishError::Unavailable("the message was not sent".into()));
    send_singly(core, stream, vec![message]).await.pop().unwrap_or_else(lost)
}

/// Sends messages as they are, in their order.
pub(super) async fn send_packed(core: &Core, stream: &StreamSpec, messages: Vec<Message>) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(messages.len());
    for batch in split(messages) {
        let atomic = batch.len() >= MIN_BATCH && core.atomic.load(Ordering::Relaxed) && all_differ(&batch);
        let answer = if atomic { send_atomically(core, &batch).await } else { Batched::Refused };
        outcomes.extend(match answer {
            Batched::Stored => vec![Ok(()); batch.len()],
            Batched::Refused => send_singly(core, stream, batch).await,
            Batched::NoAnswer => vec![Err(PublishError::Timeout); batch.len()],
        });
    }
    outcomes
}

fn split(messages: Vec<Message>) -> Vec<Vec<Message>> {
    let mut batches: Vec<Vec<Message>> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        let size = message.size();
        match batches.last_mut() {
            Some(last) if last.len() < MAX_BATCH && bytes + size <= MAX_BATCH_BYTES => {
                bytes += size;
                last.push(message);
            }
            Some(_) | None => {
                bytes = size;
                batches.push(vec![message]);
            }
        }
    }
    batches
}

fn all_differ(batch: &[Message]) -> bool {
    let mut keys = HashSet::with_capacity(batch.len());
    batch.iter().all(|message| keys.insert(message.dedupe_key()))
}

/// The server's answer to the last message of a batch.
#[derive(Deserialize)]
struct BatchAnswer {
    error: Option<ApiError>,
    batch: Option<String>,
    count: Option<usize>,
}

#[derive(Deserialize)]
struct ApiError {
    err_code: u64,
}

/// What became of a batch.
enum Batched {
    /// All of it is stored.
    Stored,
    /// Not as a batch. Its messages go singly, and each gets its own answer.
    Refused,
    /// Its callers have given up by now: sending it again would be useless.
    NoAnswer,
}

async fn send_atomically(core: &Core, batch: &[Message]) -> Batched {
    let id = crate::secret::random_text(22);
    let sent = async {
        let (last, others) = batch.split_last()?;
        for (i, message) in others.iter().enumerate() {
            let headers = batch_headers(message, &id, i + 1);
            let payload = message.payload.clone().into();
            core.client.publish_with_headers(message.subject.clone(), headers, payload).await.ok()?;
        }
        let mut headers = batch_headers(last, &id, batch.len());
        headers.insert("Nats-Batch-Commit", "1");
        Some(core.client.request_with_headers(last.subject.clone(), headers, last.payload.clone().into()).await)
    };
    let reply = match tokio::time::timeout(PUBLISH_TIMEOUT, sent).await {
        Ok(Some(Ok(reply))) => reply,
        Ok(Some(Err(e))) if e.kind() == RequestErrorKind::TimedOut => return Batched::NoAnswer,
        // No stream listens, or the connection ended: single publishes find out which.
        Ok(Some(Err(_)) | None) => return Batched::Refused,
        Err(_) => return Batched::NoAnswer,
    };
    let Ok(answer) = serde_json::from_slice::<BatchAnswer>(&reply.payload) else { return Batched::Refused };
    if let Some(ApiError { err_code }) = answer.error {
        tracing::debug!(err_code, messages = batch.len(), "the server refused a batch; sending singly");
        return Batched::Refused;
    }
    // A server of a mixed cluster that knows no batches would have stored the last message and said so: not this.
    let whole = answer.batch.as_deref() == Some(id.as_str()) && answer.count == Some(batch.len());
    if whole { Batched::Stored } else { Batched::Refused }
}

fn batch_headers(message: &Message, batch: &str, sequence: usize) -> HeaderMap {
    let mut headers = to_wire(message);
    headers.insert("Nats-Batch-Id", batch);
    headers.insert("Nats-Batch-Sequence", sequence.to_string().as_str());
    headers
}

/// What a single publish came to.
enum Sent {
    Stored,
    /// No stream took it.
    Homeless,
    Refused(PublishError),
}

/// Sends all in their order, then awaits all acknowledgements. What found no stream, or a full one, is sent once more
/// after the stream was made or acknowledged messages were removed.
async fn send_singly(core: &Core, stream: &StreamSpec, batch: Vec<Message>) -> Vec<Outcome> {
    let mut sent = send_once(core, &batch).await;
    let mended = if sent.iter().any(|s| matches!(s, Sent::Homeless)) {
        provision::bring_into_shape(core).await.map_err(|e| e.to_string())
    } else if sent.iter().any(|s| matches!(s, Sent::Refused(PublishError::Full))) {
        purge::make_space(core, stream).await
    } else {
        return sent.into_iter().map(Outcome::from).collect();
    };
    if let Err(why) = mended {
        tracing::warn!(stream = stream.name, why, "a missing or full stream could not be mended");
        return sent.into_iter().map(Outcome::from).collect();
    }
    let (places, again): (Vec<usize>, Vec<Message>) = (sent.iter().zip(batch).enumerate())
        .filter(|(_, (s, _))| matches!(s, Sent::Homeless | Sent::Refused(PublishError::Full)))
        .map(|(place, (_, message))| (place, message))
        .unzip();
    for (place, second) in places.into_iter().zip(send_once(core, &again).await) {
        if let Some(first) = sent.get_mut(place) {
            *first = second;
        }
    }
    sent.into_iter().map(Outcome::from).collect()
}

impl From<Sent> for Outcome {
    fn from(sent: Sent) -> Outcome {
        match sent {
            Sent::Stored => Ok(()),
            Sent::Homeless => Err(PublishError::Unavailable("the stream is missing".into())),
            Sent::Refused(why) => Err(why),
        }
    }
}

async fn send_once(core: &Core, batch: &[Message]) -> Vec<Sent> {
    let mut acknowledgements = Vec::with_capacity(batch.len());
    for message in batch {
        let publish = PublishMessage::build().payload(message.payload.clone().into()).headers(to_wire(message));
        acknowledgements.push(core.context.send_publish(message.subject.clone(), publish).await);
    }
    let outcomes = acknowledgements.into_iter().map(|sent| async {
        let acknowledged = match sent {
            Ok(acknowledgement) => acknowledgement.await,
            Err(e) => Err(e),
        };
        match acknowledged {
            Ok(_) => Sent::Stored,
            Err(e) => refusal(&e).map_or(Sent::Homeless, Sent::Refused),
        }
    });
    join_all(outcomes).await
}

/// What a failed publish means to the caller; nothing when no stream took it.
fn refusal(error: &WireError) -> Option<PublishError> {
    let unavailable = || PublishError::Unavailable(error.to_string());
    Some(match error.kind() {
        PublishErrorKind::StreamNotFound => return None,
        PublishErrorKind::TimedOut => PublishError::Timeout,
        PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge,
        PublishErrorKind::BrokenPipe | PublishErrorKind::MaxAckPending => unavailable(),
        PublishErrorKind::WrongLastMessageId | PublishErrorKind::WrongLastSequence => unavailable(),
        PublishErrorKind::Other => {
            let api = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
            match api.map(jetstream::Error::error_code) {
                Some(
                    ErrorCode::STREAM_STORE_FAILED
                    | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
                    | ErrorCode::STORAGE_RESOURCES_EXCEEDED
                    | ErrorCode::INSUFFICIENT_RESOURCES,
                ) => PublishError::Full,
                Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) => PublishError::TooLarge,
                // The codes are the server's and open-ended: whatever else it says, nothing was stored.
                Some(_) | None => unavailable(),
            }
        }
    })
}

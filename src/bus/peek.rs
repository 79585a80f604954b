//! Streams and their messages as operators read them.

use std::fmt;

use super::message::Message;
use super::topology::{Discard, StreamSpec};
use crate::clock::Timestamp;
use crate::ids::EventId;

/// A stream as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamView {
    pub name: String,
    pub subjects: Vec<String>,
    /// What it holds. In the embedded bus only what is outstanding counts.
    pub messages: u64,
    pub bytes: u64,
    /// What it may hold; none without a limit.
    pub max_bytes: Option<u64>,
    /// Whether it refuses messages when it is full; otherwise it drops its oldest ones.
    pub refuses: bool,
    pub max_age_hours: u64,
    /// The service's own consumers.
    pub consumers: Vec<String>,
}

impl StreamView {
    pub(super) fn of(spec: &StreamSpec, messages: u64, bytes: u64, max_bytes: i64) -> StreamView {
        StreamView {
            name: spec.name.clone(),
            subjects: spec.subjects.clone(),
            messages,
            bytes,
            max_bytes: u64::try_from(max_bytes).ok().filter(|limit| *limit > 0),
            refuses: spec.discard == Discard::New,
            max_age_hours: spec.max_age_hours,
            consumers: spec.consumers.iter().map(|consumer| consumer.name.clone()).collect(),
        }
    }
}

/// Which messages are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    pub stream: String,
    /// Only what this consumer has not acknowledged. On NATS what it acknowledged out of order is among it.
    pub consumer: Option<String>,
    /// Messages behind this number.
    pub after: u64,
    /// A page is longer where it ends with a bundle, which is read whole.
    pub limit: usize,
}

/// A message, read and left where it is. Its payload may hold personal data: it is shown masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Peeked {
    /// Its number within the stream; that of its bundle where it came in one.
    pub seq: u64,
    pub subject: String,
    /// None where another program published it.
    pub id: Option<EventId>,
    pub payload: Vec<u8>,
    pub published_at: Timestamp,
}

impl Peeked {
    /// `key` is what the message is stored once by.
    pub(super) fn new(
        (seq, published_at): (u64, Timestamp),
        subject: String,
        key: Option<&str>,
        payload: Vec<u8>,
    ) -> Peeked {
        Peeked { seq, subject, id: key.and_then(Message::id_of_key), payload, published_at }
    }

    /// A message that came with others: their number is one.
    pub(super) fn of_bundle((seq, published_at): (u64, Timestamp), message: Message) -> Peeked {
        let Message { subject, id, payload, .. } = message;
        Peeked { seq, subject, id: Some(id), payload, published_at }
    }
}

/// Of the payload only its length is shown.
impl fmt::Debug for Peeked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peeked")
            .field("seq", &self.seq)
            .field("subject", &self.subject)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

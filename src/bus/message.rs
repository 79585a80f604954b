//! What travels on the bus: a subject, an id, bytes, a few headers.
//!
//! The bus does not know what the bytes mean. What must stay true: a message keeps its id over every retry, deferral
//! and replay, so that its handler can recognise a redelivery; and yet a message that is published *again on purpose*
//! is not swallowed by the duplicate window, because its [`Message::dedupe_key`] differs.

use std::fmt;

use super::ending::Ending;
use crate::clock::Timestamp;
use crate::ids::EventId;

/// Header: deliveries that failed before this publish.
pub const ATTEMPTS: &str = "Wxpay-Attempts";
/// Header: which purposeful repetition of the same id this is.
pub const AGAIN: &str = "Wxpay-Again";
/// Header: the error of the first failed delivery.
pub const FIRST_ERROR: &str = "Wxpay-First-Error";
/// Longest error text that is kept.
const MAX_ERROR: usize = 500;

/// One message, on its way in or out.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it goes: dot-separated tokens without blanks or wildcards.
    pub subject: String,
    /// What it is; the same id within ten minutes is accepted once.
    pub id: EventId,
    pub payload: Vec<u8>,
    /// Names and values, such as `traceparent`; visible ASCII names, single-line values.
    pub headers: Vec<(String, String)>,
}

/// The payload may be a notification with personal data: only its length is shown.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("subject", &self.subject)
            .field("id", &self.id)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

impl Message {
    /// A new message with a fresh id.
    pub fn new(subject: impl Into<String>, payload: impl Into<Vec<u8>>) -> Message {
        Message { subject: subject.into(), id: EventId::new(), payload: payload.into(), headers: Vec::new() }
    }

    /// The first header of this name, compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// With this header, instead of any of the same name. Control characters in the value become blanks: a line break
    /// would end the header.
    pub fn with_header(mut self, name: &str, value: &str) -> Message {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), one_line(value)));
        self
    }

    /// The key of the duplicate window (`Nats-Msg-Id`): the id, and for a purposeful repetition what tells it apart.
    pub fn dedupe_key(&self) -> String {
        match self.header(AGAIN) {
            Some(again) => format!("{}.{again}", self.id),
            None => self.id.to_string(),
        }
    }

    /// The id within a dedupe key; nothing when it was not made by [`Message::dedupe_key`].
    pub fn id_of_key(key: &str) -> Option<EventId> {
        EventId::parse(key.split_once('.').map_or(key, |(id, _)| id)).ok()
    }

    /// The error of the first failed delivery, once there was one.
    pub fn first_error(&self) -> Option<&str> {
        self.header(FIRST_ERROR)
    }

    /// How many deliveries failed before this publish.
    pub fn earlier_attempts(&self) -> u32 {
        self.header(ATTEMPTS).and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// The same message, to be published later after `attempts` failed deliveries.
    pub(crate) fn after_attempts(self, attempts: u32, first_error: &str) -> Message {
        // A replayed message that is deferred stays apart from the original's deferrals.
        let replay =
            self.header(AGAIN).and_then(|token| token.split('-').next()).filter(|token| token.starts_with('r'));
        let again = replay.map_or_else(|| attempts.to_string(), |replay| format!("{replay}-{attempts}"));
        self.with_header(ATTEMPTS, &attempts.to_string())
            .with_header(AGAIN, &again)
            .with_header(FIRST_ERROR, first_error)
    }

    /// The same message for a replay: same id, attempts counted from zero, accepted by the duplicate window once per
    /// `token`.
    ///
    /// `token` names the replay: 1 to 64 letters or digits (others are left out), the same when the same replay is
    /// repeated after a crash.
    pub fn replayed(mut self, token: &str) -> Message {
        let ours = [ATTEMPTS, AGAIN, FIRST_ERROR];
        self.headers.retain(|(name, _)| !ours.iter().any(|own| name.eq_ignore_ascii_case(own)));
        let token: String = token.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        self.with_header(AGAIN, &format!("r{token}"))
    }

    /// Bytes that count against a stream's limits.
    pub(crate) fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        self.subject.len() + self.payload.len() + headers + 64
    }
}

/// One delivery of a message to a handler.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub message: Message,
    /// Which try this is, over all deliveries and deferrals, from 1.
    pub attempt: u32,
    /// When the bus accepted it.
    pub published_at: Timestamp,
    /// How it can end together with its effects.
    pub ending: Option<Ending>,
}

/// One line of at most [`MAX_ERROR`] bytes: errors go into headers, rows and log lines.
pub(crate) fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > MAX_ERROR {
        let cut = (0..=MAX_ERROR).rev().find(|i| line.is_char_boundary(*i)).unwrap_or(0);
        line.truncate(cut);
    }
    line.trim().to_owned()
}

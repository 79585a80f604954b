//! What a record says: what was accepted, where it would go in the queue, and under which id.

use std::fmt;

use super::frame::frame_of;
use crate::clock::Timestamp;
use crate::ids::EventId;

/// Of what follows: a later version may write others.
const FORM: &str = "1";

/// One message.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it would go in the queue.
    pub subject: String,
    pub id: EventId,
    pub accepted_at: Timestamp,
    pub payload: Vec<u8>,
}

/// The payload may hold personal data: only its length is shown.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("subject", &self.subject)
            .field("id", &self.id)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

impl Record {
    /// Form, subject, id and time end with a line break each; the payload is the rest.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.head().as_bytes(), &self.payload].concat()
    }

    /// The record in its frame; nothing where it is too large.
    pub(super) fn to_frame(&self) -> Option<Vec<u8>> {
        frame_of(&[self.head().as_bytes(), &self.payload])
    }

    fn head(&self) -> String {
        format!("{FORM}\n{}\n{}\n{}\n", self.subject, self.id, self.accepted_at.as_ms())
    }

    /// Nothing where the bytes are of another form, as a later version may write.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Record> {
        let mut parts = bytes.splitn(5, |byte| *byte == b'\n');
        let mut line = || parts.next().and_then(|line| std::str::from_utf8(line).ok());
        if line()? != FORM {
            return None;
        }
        let subject = line()?.to_owned();
        let id = EventId::parse(line()?).ok()?;
        let accepted_at = Timestamp::from_ms(line()?.parse().ok()?);
        Some(Record { subject, id, accepted_at, payload: parts.next()?.to_vec() })
    }
}

//! A notification as the intake log keeps it: a line of JSON with all but the body, then the body as WeChat sent it.
//!
//! What must stay true: what is read back makes the same message as what was written. Another form of these bytes is
//! another form of the log's records.

use serde::{Deserialize, Serialize};

use super::command::{NoticeKind, NotifyReceived};
use super::envelope::{Envelope, EnvelopeError, EventData};
use super::json;
use crate::clock::Timestamp;
use crate::ids::EventId;

/// What stands before the body.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    source: String,
    time: Timestamp,
    headers: Vec<(String, String)>,
    remote_addr: String,
    received_at: Timestamp,
    kind: NoticeKind,
}

impl Envelope<NotifyReceived> {
    /// The bytes that the log keeps beside the id.
    pub fn to_stored(&self) -> Result<Vec<u8>, EnvelopeError> {
        let NotifyReceived { body, headers, remote_addr, received_at, kind } = &self.data;
        let head = Head {
            source: self.source.clone(),
            time: self.time,
            headers: headers.clone(),
            remote_addr: remote_addr.clone(),
            received_at: *received_at,
            kind: *kind,
        };
        let mut bytes = serde_json::to_vec(&head).map_err(|e| EnvelopeError::Malformed(json::describe(&e)))?;
        bytes.reserve_exact(1 + body.len());
        bytes.push(b'\n');
        bytes.extend_from_slice(body);
        Ok(bytes)
    }

    /// The event of this id.
    pub fn from_stored(id: EventId, bytes: &[u8]) -> Result<Envelope<NotifyReceived>, EnvelopeError> {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (head, body) = bytes.split_at(end);
        let head: Head = serde_json::from_slice(head).map_err(|e| EnvelopeError::Malformed(json::describe(&e)))?;
        let Head { source, time, headers, remote_addr, received_at, kind } = head;
        let body = body.get(1..).unwrap_or_default().to_vec();
        Ok(Envelope {
            specversion: "1.0".into(),
            id,
            source,
            event_type: NotifyReceived::TYPE.into(),
            subject: None,
            time,
            datacontenttype: "application/json".into(),
            data: NotifyReceived { body, headers, remote_addr, received_at, kind },
        })
    }
}

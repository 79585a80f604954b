//! The envelope of everything on the bus: CloudEvents 1.0, structured JSON.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::json;
use crate::clock::Timestamp;
use crate::ids::{EventId, MerchantKey};

/// A CloudEvent with data of type `T`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// Always `1.0`.
    pub specversion: String,
    /// Unique for ever; the same as the bus's message id, so that consumers can drop repeats.
    pub id: EventId,
    /// `wxpay/{merchant}`.
    pub source: String,
    /// `wxpay.{entity}.{fact}.v1`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// What it is about: the order number, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened here.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    pub data: T,
}

/// Why bytes on a subject are not the event that belongs there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not JSON, or fields missing or of the wrong type: the kind of trouble and its place, nothing of the message.
    #[error("not the expected event: {0}")]
    Malformed(String),
    /// An event, but of another type or version.
    #[error("event type {found} instead of {expected}")]
    WrongType {
        found: String,
        /// What belongs on the subject.
        expected: &'static str,
    },
}

impl<T> Envelope<T> {
    pub fn new(
        merchant: &MerchantKey,
        event_type: impl Into<String>,
        subject: Option<String>,
        time: Timestamp,
        data: T,
    ) -> Envelope<T> {
        Envelope {
            specversion: "1.0".into(),
            id: EventId::new(),
            source: format!("wxpay/{merchant}"),
            event_type: event_type.into(),
            subject,
            time,
            datacontenttype: "application/json".into(),
            data,
        }
    }
}

impl<T: Serialize> Envelope<T> {
    pub fn to_json(&self) -> Result<String, EnvelopeError> {
        serde_json::to_string(self).map_err(|e| EnvelopeError::Malformed(json::describe(&e)))
    }
}

impl Envelope<serde_json::Value> {
    /// Parses a message of any type.
    pub fn of_any_type(payload: &[u8]) -> Result<Envelope<serde_json::Value>, EnvelopeError> {
        serde_json::from_slice(payload).map_err(|e| EnvelopeError::Malformed(json::describe(&e)))
    }
}

/// Data that has one event type.
pub trait EventData: DeserializeOwned {
    /// `wxpay.{entity}.{fact}.v1`
    const TYPE: &'static str;
}

impl<T: EventData> Envelope<T> {
    /// Parses a message and checks that it is what belongs here.
    pub fn parse(payload: &[u8]) -> Result<Envelope<T>, EnvelopeError> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(rename = "type")]
            event_type: String,
        }
        let malformed = |e: serde_json::Error| EnvelopeError::Malformed(json::describe(&e));
        let head: Head = serde_json::from_slice(payload).map_err(malformed)?;
        if head.event_type != T::TYPE {
            return Err(EnvelopeError::WrongType { found: head.event_type, expected: T::TYPE });
        }
        serde_json::from_slice(payload).map_err(malformed)
    }
}

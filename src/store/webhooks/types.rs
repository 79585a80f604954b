//! The words of webhooks, and their rows as the program sees them.

use crate::clock::Timestamp;
use crate::event::domain::EncodedEvent;
use crate::ids::MerchantKey;
use crate::store::payment::audit::AuditEntry;
use crate::store::replay::types::{ItemResult, ReplayMark};

/// Whether an endpoint is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    Enabled,
    /// Nothing is sent; what waits for it stays.
    Disabled,
    /// Its row stays for its attempts.
    Deleted,
}

named!(EndpointState { Enabled = "enabled", Disabled = "disabled", Deleted = "deleted" });

/// What an endpoint is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointFormat {
    /// Each event by itself, by Standard Webhooks.
    Events,
    /// Messages about several events for a group robot of WeCom.
    Wecom,
    /// Mails about several events.
    Mail,
}

named!(EndpointFormat { Events = "events", Wecom = "wecom", Mail = "mail" });

/// What the address of a mail's endpoint begins with.
pub const MAILTO: &str = "mailto:";

impl EndpointFormat {
    /// What is stored. A version before knows no mail: it takes the endpoint for a robot's whose key it cannot open,
    /// sends nothing, and tries again later.
    pub(super) fn stored(self) -> &'static str {
        match self {
            EndpointFormat::Mail => EndpointFormat::Wecom.as_str(),
            other => other.as_str(),
        }
    }

    pub(super) fn of_stored(word: &str, url: &str) -> Option<EndpointFormat> {
        let format = EndpointFormat::parse(word)?;
        let is_mail = format == EndpointFormat::Wecom && url.starts_with(MAILTO);
        Some(if is_mail { EndpointFormat::Mail } else { format })
    }
}

/// Why an endpoint is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisabledReason {
    /// By a person.
    Operator,
    /// It answered 410.
    Gone,
    /// No attempt has succeeded for too long.
    Failing,
}

named!(DisabledReason { Operator = "operator", Gone = "gone", Failing = "failing" });

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    Pending,
    Delivered,
    /// Given up; it can be recovered.
    Failed,
    /// Its endpoint was deleted.
    Cancelled,
}

named!(DeliveryState {
    Pending = "pending",
    Delivered = "delivered",
    Failed = "failed",
    Cancelled = "cancelled",
});

/// What an attempt was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Schedule,
    Replay,
    Test,
}

named!(Cause { Schedule = "schedule", Replay = "replay", Test = "test" });

/// Where a merchant's events are posted.
#[derive(Debug, Clone)]
pub struct WebhookEndpoint {
    pub id: String,
    pub merchant: MerchantKey,
    pub format: EndpointFormat,
    pub url: String,
    pub description: String,
    /// The types that it wants; all where there are none.
    pub event_types: Vec<String>,
    /// Sealed; empty where mails are sent.
    pub secret: String,
    /// Sealed; signs beside the other until its time is over.
    pub old_secret: Option<(String, Timestamp)>,
    pub state: EndpointState,
    pub disabled_reason: Option<DisabledReason>,
    pub disabled_at: Option<Timestamp>,
    /// Its place in the feed: what it wants up to here is among its deliveries.
    pub position: i64,
    /// The first failure since the last success.
    pub failing_since: Option<Timestamp>,
    /// Where messages are about several events: when the next one may be sent.
    pub next_message_at: Option<Timestamp>,
    /// Until when that one is a replay's.
    pub replay_first_until: Option<Timestamp>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub updated_at: Timestamp,
}

/// A change of an endpoint; what is none stays.
#[derive(Debug, Clone)]
pub struct EndpointChange {
    pub id: String,
    pub url: Option<String>,
    /// Sealed: a robot's key, which is a part of its address.
    pub secret: Option<String>,
    pub description: Option<String>,
    pub event_types: Option<Vec<String>>,
    pub is_enabled: Option<bool>,
    pub audit: AuditEntry,
}

/// An event on its way to an endpoint.
#[derive(Debug, Clone)]
pub struct WebhookDelivery {
    pub id: i64,
    pub endpoint_id: String,
    pub merchant: String,
    pub event_id: String,
    pub event_type: String,
    pub order_no: Option<String>,
    pub state: DeliveryState,
    /// All of them.
    pub attempts: u32,
    /// Those since it was recovered last.
    pub tries: u32,
    /// When a pending one is tried next.
    pub due_at: Timestamp,
    /// The first one since it was recovered last.
    pub first_attempt_at: Option<Timestamp>,
    pub last_attempt_at: Option<Timestamp>,
    pub last_status: Option<i64>,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

/// What an attempt makes of its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStep {
    Delivered,
    /// To be tried again then.
    Again(Timestamp),
    /// Given up.
    GivenUp,
    /// It stays as it was: an attempt beside the schedule.
    Unchanged,
}

/// The delivery of an attempt.
#[derive(Debug, Clone)]
pub struct OfDelivery {
    pub id: i64,
    /// As whose it was taken.
    pub claim: String,
    pub step: DeliveryStep,
}

/// What an attempt says of its endpoint.
#[derive(Debug, Clone)]
pub struct Disabling {
    pub reason: DisabledReason,
    /// Only where the endpoint has failed since this or longer.
    pub failing_since: Option<Timestamp>,
    /// Written where the endpoint is disabled now.
    pub event: EncodedEvent,
    pub audit: AuditEntry,
}

/// An attempt, with all that it changes.
#[derive(Debug, Clone)]
pub struct NewAttempt {
    pub endpoint_id: String,
    pub of: Option<OfDelivery>,
    pub merchant: String,
    pub event_id: String,
    pub event_type: String,
    pub order_no: Option<String>,
    pub cause: Cause,
    /// A short stable word; `delivered` is the success.
    pub outcome: &'static str,
    pub is_success: bool,
    /// Whether it is a failure that counts against the endpoint.
    pub blames_endpoint: bool,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub url: String,
    pub request_bytes: usize,
    pub answer: Option<String>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub took_ms: u64,
    pub disabling: Vec<Disabling>,
    /// The replay's item that it is made for, and its result.
    pub replayed: Option<(ReplayMark, ItemResult)>,
}

/// An attempt as it is listed.
#[derive(Debug, Clone)]
pub struct WebhookAttempt {
    pub id: i64,
    pub delivery_id: Option<i64>,
    pub event_id: String,
    pub event_type: String,
    pub order_no: Option<String>,
    pub cause: String,
    pub outcome: String,
    pub status: Option<i64>,
    pub error: Option<String>,
    pub url: String,
    pub request_bytes: i64,
    pub answer: Option<String>,
    pub started_at: Timestamp,
    pub took_ms: i64,
}

/// How an endpoint is doing. Counts end at [`super::lists::COUNTED`].
#[derive(Debug, Clone, Default)]
pub struct EndpointHealth {
    pub pending: i64,
    pub failed: i64,
    /// When the next pending one is due.
    pub next_at: Option<Timestamp>,
    /// Of the newest attempts, how many there are and how many succeeded.
    pub attempts: i64,
    pub succeeded: i64,
    pub last_attempt_at: Option<Timestamp>,
}

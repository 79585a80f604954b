//! The rows of an order's history.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;

/// What is stored about an order, each source oldest first.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    pub rows: Vec<TrailRow>,
    /// Sources that have older rows than are here.
    pub truncated: Vec<&'static str>,
}

/// A row about an order. Words are as they are stored.
#[derive(Debug, Clone)]
pub enum TrailRow {
    /// A change of the order (`refund_no` is none), or of a refund of it.
    Change {
        refund_no: Option<String>,
        version: i64,
        number: String,
        source: String,
        source_id: String,
        /// The fact's JSON.
        fact: String,
        verified_by: Option<String>,
        received_at: Timestamp,
        recorded_at: Timestamp,
        took: Option<Duration>,
        state: Option<String>,
    },
    Call {
        number: String,
        api: String,
        outcome: String,
        code: Option<String>,
        message: Option<String>,
        at: Timestamp,
        took: Duration,
    },
    Notification(Timestamp, TrailNotification),
    /// Of a payment (`refund_no` is none), or of a refund.
    Ledger {
        refund_no: Option<String>,
        recorded_at: Timestamp,
        booked: TrailBooking,
    },
    Refund {
        refund_no: String,
        transaction_id: String,
        amount_fen: i64,
        currency: String,
        origin: String,
        reason: Option<String>,
        by: String,
        created_at: Timestamp,
    },
    Event {
        id: String,
        event_type: String,
        created_at: Timestamp,
        relayed_at: Option<Timestamp>,
    },
    Delivery {
        event_id: String,
        event_type: String,
        endpoint: String,
        outcome: String,
        status: Option<i64>,
        took_ms: i64,
        at: Timestamp,
    },
    Action {
        actor: String,
        remote_addr: String,
        action: String,
        transaction_id: Option<String>,
        reason: Option<String>,
        result: String,
        at: Timestamp,
    },
}

/// A message that WeChat posted.
#[derive(Debug, Clone, Serialize)]
pub struct TrailNotification {
    pub id: String,
    pub about: String,
    pub verdict: String,
    pub reason: Option<String>,
    pub verified_by: Option<String>,
    pub transaction_id: Option<String>,
    pub remote_addr: String,
    /// None where it is packed.
    pub bytes: Option<i64>,
    /// None where it was refused.
    pub processed_at: Option<Timestamp>,
}

/// Money that was booked, or changed its class.
#[derive(Debug, Clone, Serialize)]
pub struct TrailBooking {
    pub entry: String,
    pub transaction_id: String,
    pub amount_fen: i64,
    pub currency: String,
    pub from: Option<String>,
    pub to: Option<String>,
    pub reason: Option<String>,
    pub by: Option<String>,
    pub evidence: Option<String>,
    pub occurred_at: Timestamp,
}

//! The entries of a timeline. The names of the entries and of their members are stable.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::store::{TrailBooking, TrailNotification};

/// The timeline, oldest first.
#[derive(Debug, Clone, Serialize)]
pub struct Timeline {
    pub order_no: String,
    pub merchant: String,
    pub state: &'static str,
    pub entries: Vec<TimedEntry>,
    /// Kinds of rows of which only the newest are here.
    pub truncated: Vec<&'static str>,
}

/// An entry and its time.
#[derive(Debug, Clone, Serialize)]
pub struct TimedEntry {
    pub at: Timestamp,
    #[serde(flatten)]
    pub entry: Entry,
}

/// What happened. Entries of one time are in the order of the kinds.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// The business asked for the order.
    Requested { event_id: String, app: String, amount_fen: i64, description: String, trade_type: &'static str },
    /// A number was recorded, before WeChat was called for it.
    Attempt { out_trade_no: String, n: u32, trade_type: &'static str },
    /// WeChat was called. `code` and `message` are WeChat's words.
    Call {
        api: String,
        number: String,
        outcome: String,
        took_ms: u128,
        #[serde(flatten)]
        words: Words,
    },
    /// WeChat posted a message.
    Notification(TrailNotification),
    /// A fact changed the order.
    Decision {
        version: i64,
        before: Option<String>,
        after: Option<String>,
        out_trade_no: String,
        #[serde(flatten)]
        evidence: Evidence,
    },
    /// Money was booked, or changed its class.
    Ledger(TrailBooking),
    /// A refund was recorded.
    Refund {
        refund_no: String,
        transaction_id: String,
        amount_fen: i64,
        currency: String,
        origin: String,
        reason: Option<String>,
        by: String,
    },
    /// A fact changed a refund.
    RefundDecision {
        refund_no: String,
        version: i64,
        before: Option<String>,
        after: Option<String>,
        #[serde(flatten)]
        evidence: Evidence,
    },
    /// Money went back.
    RefundLedger {
        refund_no: String,
        transaction_id: String,
        amount_fen: i64,
        currency: String,
        evidence: Option<String>,
        occurred_at: Timestamp,
    },
    /// An event was written; `published_at` is when the bus had it.
    Event {
        id: String,
        #[serde(rename = "type")]
        event_type: String,
        published_at: Option<Timestamp>,
    },
    /// An event was posted to a webhook of the merchant.
    Delivery {
        event_id: String,
        #[serde(rename = "type")]
        event_type: String,
        endpoint: String,
        outcome: String,
        status: Option<i64>,
        took_ms: i64,
    },
    /// An operator did something.
    Action {
        actor: String,
        action: String,
        result: String,
        reason: Option<String>,
        transaction_id: Option<String>,
        remote_addr: String,
    },
}

/// A code and its words, where there are some.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Words {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a decision rests on.
#[derive(Debug, Clone, Serialize)]
pub struct Evidence {
    /// `notification`, `query`, `unified_order`, `close`, `request` or `bill`; of a refund also `refund`.
    pub source: String,
    /// The notification's id, the caller's key, or the number that was asked about.
    pub source_id: String,
    pub received_at: Timestamp,
    /// Algorithm and fingerprint of the key.
    pub verified_by: Option<String>,
    /// The fact's name.
    pub fact: String,
    #[serde(flatten)]
    pub words: Words,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_fen: Option<i64>,
    /// Of the amount; what WeChat says of a refund names none.
    #[serde(skip)]
    pub currency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<Timestamp>,
}

//! What proves a change: evidence, notifications and events; evidence and events as rows.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::Set;

use super::db::DbError;
use super::entity::{evidence, outbox};
use super::order::calls::millis;
use super::payers::Payers;
use super::payers::hide::without_openids;
use super::replay::types::ReplayMark;
use crate::clock::Timestamp;
use crate::event::domain::EncodedEvent;
use crate::event::fact::Fact;
use crate::ids::{EventId, MerchantKey, OrderNo, OutTradeNo, TransactionId};
use crate::order::OrderState;
use crate::telemetry::Announcement;

/// Where a fact came from.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The attempt it is about.
    pub out_trade_no: OutTradeNo,
    /// What was said.
    pub fact: Fact,
    /// Who said it.
    pub source: EvidenceSource,
    /// When it reached us.
    pub received_at: Timestamp,
    /// How long the call took that brought it.
    pub took: Option<Duration>,
    /// The state that it left the order in.
    pub state: OrderState,
}

/// Who said it, and where the words are kept.
#[derive(Debug, Clone)]
pub enum EvidenceSource {
    /// A notification; its bytes are in `notifications`.
    Notification {
        /// The notification's id.
        id: EventId,
        /// Algorithm and key fingerprint.
        verified_by: String,
    },
    /// WeChat's answer to a query.
    Query {
        /// The answer's XML.
        raw: String,
        /// Algorithm and key fingerprint.
        verified_by: String,
    },
    /// WeChat's answer, or silence, to a unified order.
    UnifiedOrder,
    /// WeChat's answer to a close.
    Close,
    /// The business asked.
    Request {
        /// The name of the API key or operator, and who approved it.
        by: String,
    },
}

impl EvidenceSource {
    /// Its name, in the database, in events and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            EvidenceSource::Notification { .. } => "notification",
            EvidenceSource::Query { .. } => "query",
            EvidenceSource::UnifiedOrder => "unified_order",
            EvidenceSource::Close => "close",
            EvidenceSource::Request { .. } => "request",
        }
    }
}

/// What is kept of a notification, and what became of it.
#[derive(Debug, Clone)]
pub struct NotificationRecord {
    /// The id it travelled under.
    pub id: EventId,
    /// Whose.
    pub merchant: MerchantKey,
    /// What it tells of.
    pub kind: NotificationKind,
    /// What came. Copies of the record share it.
    pub posted: Arc<Posted>,
    /// Who sent it.
    pub remote_addr: String,
    /// When.
    pub received_at: Timestamp,
    /// What became of it.
    pub verdict: Verdict,
    /// The number it names.
    pub out_trade_no: Option<OutTradeNo>,
    /// The payment it names.
    pub transaction_id: Option<TransactionId>,
    /// Algorithm and key fingerprint.
    pub verified_by: Option<String>,
    /// The order it belongs to.
    pub order_id: Option<i64>,
    /// The item of a replay that it is: the item's result is written with it.
    pub replay: Option<ReplayMark>,
}

/// A notification as it was posted.
#[derive(Debug)]
pub struct Posted {
    pub(super) body: Vec<u8>,
    /// As JSON.
    pub(super) headers: String,
}

impl Posted {
    pub fn new(body: Vec<u8>, headers: &[(String, String)]) -> Posted {
        // A list of texts is always JSON.
        let headers = serde_json::to_string(headers).unwrap_or_else(|_| "[]".into());
        Posted { body, headers }
    }
}

/// What a notification tells of: the address it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationKind {
    /// A payment.
    Pay,
    /// A refund.
    Refund,
}

named!(NotificationKind { Pay = "pay", Refund = "refund" });

/// What became of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It changed an order.
    Settled,
    /// The order said so already.
    Duplicate,
    /// It reports no payment.
    NoPayment,
    /// Its order is not known (yet).
    Waiting,
    /// Its signature, merchant or app does not hold.
    Rejected(String),
    /// It contradicts the order; a dead letter has it.
    Parked(String),
}

impl Verdict {
    /// The word in the database and in metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Verdict::Settled => "settled",
            Verdict::Duplicate => "duplicate",
            Verdict::NoPayment => "no_payment",
            Verdict::Waiting => "waiting",
            Verdict::Rejected(_) => "rejected",
            Verdict::Parked(_) => "parked",
        }
    }

    pub(super) fn reason(&self) -> Option<String> {
        match self {
            Verdict::Rejected(reason) | Verdict::Parked(reason) => Some(reason.clone()),
            Verdict::Settled | Verdict::Duplicate | Verdict::NoPayment | Verdict::Waiting => None,
        }
    }
}

/// The name of a source, and what distinguishes it from others of that name.
pub(super) fn source_of(e: &Evidence) -> (&'static str, String) {
    let id = match &e.source {
        EvidenceSource::Notification { id, .. } => id.to_string(),
        EvidenceSource::Request { by } => by.clone(),
        EvidenceSource::Query { .. } | EvidenceSource::UnifiedOrder | EvidenceSource::Close => {
            e.out_trade_no.to_string()
        }
    };
    (e.source.name(), id)
}

/// The row that proves an order's version, with the payer's name in the place of each openid.
pub(super) fn evidence_row(
    (order_id, version): (i64, i64),
    e: &Evidence,
    at: Timestamp,
    payers: &Payers,
) -> Result<evidence::ActiveModel, DbError> {
    let (source, source_id) = source_of(e);
    let (raw, verified_by) = match &e.source {
        EvidenceSource::Notification { verified_by, .. } => (None, Some(verified_by.clone())),
        EvidenceSource::Query { raw, verified_by } => (Some(raw.clone()), Some(verified_by.clone())),
        EvidenceSource::UnifiedOrder | EvidenceSource::Close | EvidenceSource::Request { .. } => (None, None),
    };
    let fact = serde_json::to_string(&e.fact).map_err(|e| DbError::Defect(e.to_string()))?;
    let (fact, raw) = without_openids(payers, fact, raw);
    Ok(evidence::ActiveModel {
        id: sea_orm::NotSet,
        order_id: Set(order_id),
        version: Set(version),
        out_trade_no: Set(e.out_trade_no.to_string()),
        source: Set(source.into()),
        source_id: Set(source_id),
        fact: Set(fact),
        raw: Set(raw),
        verified_by: Set(verified_by),
        received_at_ms: Set(e.received_at.as_ms()),
        recorded_at_ms: Set(at.as_ms()),
        packed: Set(None),
        took_ms: Set(e.took.map(millis)),
        state: Set(Some(e.state.as_str().into())),
    })
}

/// What the log says of an event once it is durable.
pub(super) fn announcement(e: &EncodedEvent) -> Option<Announcement> {
    Announcement::of(&e.event_type, e.merchant.as_str(), e.order_no.as_ref().map(OrderNo::as_str))
}

pub(super) fn outbox_row(e: &EncodedEvent) -> outbox::ActiveModel {
    outbox::ActiveModel {
        id: sea_orm::NotSet,
        event_id: Set(e.id.to_string()),
        merchant: Set(e.merchant.to_string()),
        order_no: Set(e.order_no.as_ref().map(ToString::to_string)),
        subject: Set(e.subject.clone()),
        event_type: Set(e.event_type.clone()),
        payload: Set(e.payload.clone()),
        created_at_ms: Set(e.time.as_ms()),
        position: Set(None),
        relayed_at_ms: Set(None),
        packed: Set(None),
    }
}

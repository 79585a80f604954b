//! Refunds between rows and the domain. Only `record`, `commit` and `elsewhere` write them.

use sea_orm::Set;

use super::cap::{Alone, RefundCap};
use crate::clock::Timestamp;
use crate::event::command::Idempotency;
use crate::event::domain::{DomainData, DomainEvent, EncodedEvent, RefundEventData};
use crate::event::fact::{RefundFact, WechatError};
use crate::ids::{MerchantKey, OrderNo, OutRefundNo, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::order::Queries;
use crate::refund::{Refund, RefundOrigin, RefundState};
use crate::store::approvals::types::Decided;
use crate::store::db::DbError;
use crate::store::entity::{refund, refund_evidence};
use crate::store::order::rows::{AttemptParams, broken, unknown, unreadable};
use crate::store::payment::audit::AuditEntry;

/// A refund to be recorded, its amount to be reserved with it.
#[derive(Debug, Clone)]
pub struct NewRefund {
    pub merchant: MerchantKey,
    /// None where the payment is of no order.
    pub order_id: Option<i64>,
    pub order_no: Option<OrderNo>,
    /// Its number at WeChat.
    pub refund_no: OutRefundNo,
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    pub amount: Fen,
    pub total: Fen,
    /// The payment's currency.
    pub currency: String,
    pub origin: RefundOrigin,
    /// What the payer reads.
    pub reason: Option<String>,
    /// The API key that asked, or the policy's name.
    pub requested_by: String,
    /// Detects whether a repeated request is the same; empty for a refund not requested here.
    pub content_hash: String,
    /// The operator's action, where the payment was held when this was asked for: then it must not have been accepted
    /// meanwhile.
    pub gives_back: Option<AuditEntry>,
    /// The caller's action, where the payment was credited.
    pub audit: Option<AuditEntry>,
    /// The caller's own name for the request, if it has one.
    pub idempotency: Option<Idempotency>,
    /// The limit of the client that asked, if it has one.
    pub cap: Option<RefundCap>,
    /// The amount above which a second person is needed for the refunds of the payment that had none.
    pub second_person: Option<Fen>,
    /// The second person's approval.
    pub approved: Option<Decided>,
    /// What WeChat will be sent, byte for byte each time.
    pub params: AttemptParams,
    /// WeChat's number of a refund that it has taken on already, and how that was learnt.
    pub known: Option<(String, RefundEvidence)>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When the scheduler polls it next.
    pub next_at: Timestamp,
}

impl NewRefund {
    /// The same refund of another amount; only before the refund has been reported.
    pub(in crate::store) fn of_amount(&self, amount: Fen) -> NewRefund {
        let mut less = NewRefund { amount, ..self.clone() };
        less.params.params.insert("refund_fee".to_owned(), amount.to_string());
        less
    }

    /// As what one person decides, or not.
    pub(in crate::store) fn alone(&self) -> Alone<'_> {
        Alone {
            merchant: &self.merchant,
            transaction_id: &self.transaction_id,
            refund_no: &self.refund_no,
            amount: self.amount,
            limit: self.second_person,
        }
    }

    /// The event to emit once it is recorded.
    pub(in crate::store) fn event(&self) -> EncodedEvent {
        let data = DomainData::RefundRequested(RefundEventData {
            order_no: self.order_no.clone(),
            refund_no: self.refund_no.clone(),
            refund_id: self.known.as_ref().map(|(id, _)| id.clone()),
            out_trade_no: self.out_trade_no.clone(),
            transaction_id: self.transaction_id.clone(),
            amount_fen: self.amount,
            paid_fen: self.total,
            currency: self.currency.clone(),
            origin: self.origin.as_str(),
            refunded_at: None,
            wechat: None,
        });
        let (merchant, order_no) = (self.merchant.clone(), self.order_no.clone());
        DomainEvent { merchant, order_no, data }.encode(self.created_at)
    }
}

/// A refund with what the decision does not need.
#[derive(Debug, Clone)]
pub struct StoredRefund {
    /// What the decision works on.
    pub refund: Refund,
    /// None where the payment is of no order.
    pub order_id: Option<i64>,
    /// What the payer reads.
    pub reason: Option<String>,
    /// The API key that asked, `user:NAME` of a user of the console, or the policy's name.
    pub requested_by: String,
    /// Tells whether a repeated request is the same.
    pub content_hash: String,
    /// What WeChat is sent, byte for byte each time.
    pub params: AttemptParams,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Of one that failed: what WeChat had refunded of the payment otherwise.
    pub elsewhere: Option<Fen>,
}

/// Where a fact about a refund came from.
#[derive(Debug, Clone)]
pub struct RefundEvidence {
    pub fact: RefundFact,
    pub source: RefundSource,
    /// When it reached us.
    pub received_at: Timestamp,
}

/// Who said it, and where the words are kept. No notification is among them: one is a reason to ask.
#[derive(Debug, Clone)]
pub enum RefundSource {
    /// WeChat's answer, or silence, to the refund call.
    Call {
        /// The answer's XML, where it was one to build on.
        raw: Option<String>,
    },
    /// WeChat's answer to a query.
    Query {
        /// The answer's XML; none when it knows no such refund.
        raw: Option<String>,
        /// Which key verified it.
        verified_by: String,
    },
}

pub(in crate::store) fn new_row(n: &NewRefund) -> Result<refund::ActiveModel, DbError> {
    let state = if n.known.is_some() { RefundState::Processing } else { RefundState::Requested };
    Ok(refund::ActiveModel {
        id: sea_orm::NotSet,
        merchant: Set(n.merchant.to_string()),
        refund_no: Set(n.refund_no.to_string()),
        order_id: Set(n.order_id),
        order_no: Set(n.order_no.as_ref().map(ToString::to_string)),
        out_trade_no: Set(n.out_trade_no.to_string()),
        transaction_id: Set(n.transaction_id.to_string()),
        version: Set(1),
        state: Set(state.as_str().into()),
        origin: Set(n.origin.as_str().into()),
        amount_fen: Set(n.amount.as_i64()),
        total_fen: Set(n.total.as_i64()),
        reason: Set(n.reason.clone()),
        requested_by: Set(n.requested_by.clone()),
        content_hash: Set(n.content_hash.clone()),
        params: Set(n.params.to_json()?),
        sign_type: Set(n.params.sign_type.clone()),
        refund_id: Set(n.known.as_ref().map(|(id, _)| id.clone())),
        error_code: Set(None),
        error_message: Set(None),
        delayed: Set(false),
        calls: Set(0),
        unanswered_at_ms: Set(None),
        queries_done: Set(0),
        next_at_ms: Set(Some(n.next_at.as_ms())),
        succeeded_at_ms: Set(None),
        created_at_ms: Set(n.created_at.as_ms()),
        updated_at_ms: Set(n.created_at.as_ms()),
        call_open_until_ms: Set(None),
        answered_at_ms: Set(None),
        contradiction: Set(None),
        currency: Set(n.currency.clone()),
    })
}

pub(in crate::store) fn stored_refund(row: refund::Model) -> Result<StoredRefund, DbError> {
    let error = row.error_code.map(|code| WechatError { code, message: row.error_message.unwrap_or_default() });
    let refund = Refund {
        id: row.id,
        version: row.version,
        merchant: MerchantKey::parse(row.merchant).map_err(broken("merchant"))?,
        order_no: row.order_no.map(OrderNo::parse).transpose().map_err(broken("order_no"))?,
        refund_no: OutRefundNo::parse(row.refund_no).map_err(broken("refund_no"))?,
        out_trade_no: OutTradeNo::parse(row.out_trade_no).map_err(broken("out_trade_no"))?,
        transaction_id: TransactionId::parse(row.transaction_id).map_err(broken("transaction_id"))?,
        amount: Fen::from_i64(row.amount_fen),
        total: Fen::from_i64(row.total_fen),
        currency: row.currency,
        state: RefundState::parse(&row.state).ok_or_else(|| unknown("state", &row.state))?,
        origin: RefundOrigin::parse(&row.origin).ok_or_else(|| unknown("origin", &row.origin))?,
        refund_id: row.refund_id,
        error,
        delayed: row.delayed,
        unanswered_at: row.unanswered_at_ms.map(Timestamp::from_ms),
        queries: Queries {
            done: u32::try_from(row.queries_done).unwrap_or(u32::MAX),
            next_at: row.next_at_ms.map(Timestamp::from_ms),
            answered_at: row.answered_at_ms.map(Timestamp::from_ms),
        },
        created_at: Timestamp::from_ms(row.created_at_ms),
        succeeded_at: row.succeeded_at_ms.map(Timestamp::from_ms),
    };
    Ok(StoredRefund {
        refund,
        order_id: row.order_id,
        reason: row.reason,
        requested_by: row.requested_by,
        content_hash: row.content_hash,
        params: AttemptParams::of_json(&row.params, row.sign_type)?,
        updated_at: Timestamp::from_ms(row.updated_at_ms),
        elsewhere: None,
    })
}

pub(in crate::store) fn evidence_row(
    (refund, version, state): (i64, i64, RefundState),
    refund_no: &OutRefundNo,
    e: &RefundEvidence,
    at: Timestamp,
) -> Result<refund_evidence::ActiveModel, DbError> {
    let (source, raw, verified_by) = match &e.source {
        RefundSource::Call { raw } => ("refund", raw.clone(), None),
        RefundSource::Query { raw, verified_by } => ("query", raw.clone(), Some(verified_by.clone())),
    };
    Ok(refund_evidence::ActiveModel {
        id: sea_orm::NotSet,
        refund: Set(refund),
        version: Set(version),
        source: Set(source.into()),
        source_id: Set(refund_no.to_string()),
        fact: Set(serde_json::to_string(&e.fact).map_err(|e| unreadable("fact", &e))?),
        raw: Set(raw),
        verified_by: Set(verified_by),
        received_at_ms: Set(e.received_at.as_ms()),
        recorded_at_ms: Set(at.as_ms()),
        packed: Set(None),
        state: Set(Some(state.as_str().into())),
    })
}

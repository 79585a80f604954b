//! The refund as callers see it.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::http::ops::approvals::ApprovalJson;
use crate::http::problem::of_others;
use crate::http::problem_answer::wechat_json;
use crate::money::Fen;
use crate::ops::money::RefundContent;
use crate::refund::{RefundOrigin, RefundState};
use crate::store::{Approval, ApprovalState, StoredRefund};

/// The JSON of a refund.
#[derive(Debug, Serialize)]
pub struct RefundJson<'a> {
    refund_no: &'a str,
    merchant: &'a str,
    order_no: Option<&'a str>,
    out_trade_no: &'a str,
    transaction_id: &'a str,
    refund_id: Option<&'a str>,
    state: &'static str,
    /// For a person: what the state means for who waits for the money.
    message: Cow<'static, str>,
    origin: &'static str,
    amount_fen: Fen,
    paid_fen: Fen,
    currency: &'a str,
    reason: Option<&'a str>,
    wechat: Option<Value>,
    created_at: Timestamp,
    updated_at: Timestamp,
    refunded_at: Option<Timestamp>,
    /// Of one that failed because of other refunds of the payment: what WeChat had refunded by those.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_refunded_fen: Option<Fen>,
    /// Of one that takes a second person and is not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalJson<'a>>,
}

/// The state of a refund that waits for a second person.
pub const AWAITING: &str = "awaiting_approval";
/// The state of one that none approved.
pub const NOT_APPROVED: &str = "not_approved";

impl<'a> RefundJson<'a> {
    /// Of a stored refund.
    pub fn new(stored: &'a StoredRefund) -> RefundJson<'a> {
        let r = &stored.refund;
        RefundJson {
            refund_no: r.refund_no.as_str(),
            merchant: r.merchant.as_str(),
            order_no: r.order_no.as_ref().map(|order_no| order_no.as_str()),
            out_trade_no: r.out_trade_no.as_str(),
            transaction_id: r.transaction_id.as_str(),
            refund_id: r.refund_id.as_deref(),
            state: r.state.as_str(),
            message: match stored.elsewhere {
                None => message(r.state, r.delayed, r.error.is_some()).into(),
                Some(_) => format!("Failed: no money moved{}.", of_others(stored.elsewhere)).into(),
            },
            origin: r.origin.as_str(),
            amount_fen: r.amount,
            paid_fen: r.total,
            currency: &r.currency,
            reason: stored.reason.as_deref(),
            wechat: r.error.as_ref().map(wechat_json),
            created_at: r.created_at,
            updated_at: stored.updated_at,
            refunded_at: r.succeeded_at,
            payment_refunded_fen: stored.elsewhere,
            approval: None,
        }
    }

    /// Of one that takes a second person.
    pub fn awaiting(approval: &'a Approval, content: &'a RefundContent, now: Timestamp) -> RefundJson<'a> {
        let (state, message) = match approval.state_at(now) {
            ApprovalState::Waiting | ApprovalState::Approved => {
                (AWAITING, "Not recorded: a second person must approve it. Nothing is reserved meanwhile.")
            }
            ApprovalState::Refused => {
                (NOT_APPROVED, "It was refused: no money moved. The approval says by whom and why.")
            }
            ApprovalState::Expired => {
                (NOT_APPROVED, "No second person approved it in time: no money moved. It may be asked for again.")
            }
        };
        RefundJson {
            refund_no: approval.refund_no.as_ref().map_or("", |refund_no| refund_no.as_str()),
            merchant: approval.merchant.as_str(),
            order_no: approval.order_no.as_ref().map(|order_no| order_no.as_str()),
            out_trade_no: content.out_trade_no.as_str(),
            transaction_id: approval.transaction_id.as_str(),
            refund_id: None,
            state,
            message: message.into(),
            origin: RefundOrigin::Api.as_str(),
            amount_fen: approval.amount,
            paid_fen: content.paid_fen,
            currency: &approval.currency,
            reason: content.payer_reason.as_deref(),
            wechat: None,
            created_at: approval.asked_at,
            updated_at: approval.decided_at.unwrap_or(approval.asked_at),
            refunded_at: None,
            payment_refunded_fen: None,
            approval: Some(ApprovalJson::new(approval, now)),
        }
    }
}

const fn message(state: RefundState, delayed: bool, has_words: bool) -> &'static str {
    match state {
        RefundState::Requested if delayed => {
            "Pending: WeChat does not take it yet (see wechat); it is repeated until it does."
        }
        RefundState::Requested => "Pending: recorded, and on its way to WeChat.",
        RefundState::Unknown if has_words => {
            "Pending, not failed: WeChat's answer does not say whether it took the refund (see wechat). The same \
             refund is repeated; do not ask for it under another number."
        }
        RefundState::Unknown => {
            "Pending, not failed: WeChat's answer was lost. The same refund is repeated; do not ask for it under \
             another number."
        }
        RefundState::Processing => "Accepted by WeChat; the payer does not have the money yet.",
        RefundState::Succeeded => "The payer has the money.",
        RefundState::Abnormal => {
            "The payer's account cannot take the money: it must be settled by hand in the merchant platform."
        }
        RefundState::Failed => "Failed: no money moved. Its number cannot be used again.",
    }
}

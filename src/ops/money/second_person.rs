//! Asking for a second person.

use serde::{Deserialize, Serialize};

use crate::event::command::Idempotency;
use crate::event::json;
use crate::ids::{MerchantKey, OrderNo, OutRefundNo, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::ops::Operator;
use crate::ops::replay::Tools;
use crate::order::PaymentClass;
use crate::store::{Approval, ApprovalKind, AuditEntry, DbError, NewApproval};

/// What a refund needs besides what people see of it: kept with the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefundContent {
    pub out_trade_no: OutTradeNo,
    /// The whole payment.
    pub paid_fen: Fen,
    pub requested_by: String,
    pub payer_reason: Option<String>,
    pub content_hash: String,
    pub idempotency: Option<Idempotency>,
    /// The client whose refunds of a day are limited, and to how much.
    pub cap: Option<(String, Fen)>,
}

impl RefundContent {
    /// Of a request for a refund.
    pub fn of(approval: &Approval) -> Result<RefundContent, DbError> {
        serde_json::from_str(&approval.content)
            .map_err(|e| DbError::Defect(format!("approval {}: {}", approval.id, json::describe(&e))))
    }

    pub(super) fn to_json(&self) -> Result<String, DbError> {
        serde_json::to_string(self).map_err(|e| DbError::Defect(json::describe(&e)))
    }
}

/// What is to be approved.
pub(super) struct Wanted {
    pub kind: ApprovalKind,
    pub merchant: MerchantKey,
    pub order_no: Option<OrderNo>,
    pub transaction_id: TransactionId,
    pub refund_no: Option<OutRefundNo>,
    pub amount: Fen,
    /// Of a payment to accept: what its order is for.
    pub order_amount: Option<Fen>,
    /// Of a refund: what its payment is now.
    pub class: Option<PaymentClass>,
    pub currency: String,
    /// What else the operation needs, as JSON.
    pub content: String,
}

/// Has it wait for a second person; the request that was there before, where there is one. None where as many requests
/// of the client as may be wait already.
pub(super) async fn ask(
    tools: Tools<'_>,
    operator: &Operator,
    wanted: Wanted,
    reason: String,
) -> Result<Option<Approval>, DbError> {
    let now = tools.clock.now();
    let audit = AuditEntry {
        merchant: Some(wanted.merchant.clone()),
        order_no: wanted.order_no.clone(),
        transaction_id: Some(wanted.transaction_id.clone()),
        result: "asked".to_owned(),
        ..operator.audit("approval.ask", reason.clone(), now)
    };
    let new = NewApproval {
        kind: wanted.kind,
        merchant: wanted.merchant,
        order_no: wanted.order_no,
        transaction_id: wanted.transaction_id,
        refund_no: wanted.refund_no,
        amount: wanted.amount,
        order_amount: wanted.order_amount,
        class: wanted.class,
        currency: wanted.currency,
        reason,
        content: wanted.content,
        expires_at: now.after(tools.config.limits.second_person_within),
        key: operator.key.clone(),
        audit,
    };
    tools.store.ask_approval(&new).await
}

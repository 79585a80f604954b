//! Requests that wait for a second person.

use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OrderNo, OutRefundNo, TransactionId};
use crate::money::Fen;
use crate::order::PaymentClass;
use crate::store::payment::audit::AuditEntry;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalKind {
    /// Crediting held money.
    Accept,
    Refund,
}

named!(ApprovalKind { Accept = "accept", Refund = "refund" });

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalState {
    Waiting,
    /// It was done.
    Approved,
    Refused,
    /// Its time was over before anyone decided.
    Expired,
}

named!(ApprovalState { Waiting = "waiting", Approved = "approved", Refused = "refused", Expired = "expired" });

/// A request for a second person.
#[derive(Debug, Clone)]
pub struct NewApproval {
    pub kind: ApprovalKind,
    pub merchant: MerchantKey,
    /// None where the payment is of no order.
    pub order_no: Option<OrderNo>,
    pub transaction_id: TransactionId,
    /// The refund's number; none of a payment to accept.
    pub refund_no: Option<OutRefundNo>,
    pub amount: Fen,
    /// Of a payment to accept: what its order is for.
    pub order_amount: Option<Fen>,
    /// Of a refund: what its payment was when it was asked for.
    pub class: Option<PaymentClass>,
    pub currency: String,
    pub reason: String,
    /// What else the operation needs, as JSON.
    pub content: String,
    pub expires_at: Timestamp,
    /// The key that was presented.
    pub key: String,
    /// Who asks, from where and when: `approval.ask`.
    pub audit: AuditEntry,
}

/// The same as a row.
#[derive(Debug, Clone)]
pub struct Approval {
    pub id: i64,
    pub kind: ApprovalKind,
    pub merchant: MerchantKey,
    pub order_no: Option<OrderNo>,
    pub transaction_id: TransactionId,
    pub refund_no: Option<OutRefundNo>,
    pub amount: Fen,
    /// Of a payment to accept: what its order is for.
    pub order_amount: Option<Fen>,
    /// Of a refund: what its payment was when it was asked for.
    pub class: Option<PaymentClass>,
    pub currency: String,
    pub reason: String,
    pub content: String,
    /// The name of the API key or user that asked.
    pub asked_by: String,
    /// What stays when the key or its name is changed.
    pub asked_by_id: String,
    /// The key that it presented.
    pub asked_key_id: String,
    pub asked_from: String,
    pub asked_at: Timestamp,
    pub expires_at: Timestamp,
    pub state: ApprovalState,
    pub decided_by: Option<String>,
    pub decided_at: Option<Timestamp>,
    pub decision_reason: Option<String>,
}

impl Approval {
    /// What it is at `now`: nothing writes down that its time is over.
    pub fn state_at(&self, now: Timestamp) -> ApprovalState {
        match self.state {
            ApprovalState::Waiting if now >= self.expires_at => ApprovalState::Expired,
            state => state,
        }
    }
}

/// The decision about a request, to be written with what it asked for.
#[derive(Debug, Clone)]
pub struct Decided {
    pub id: i64,
    /// Who decides, why and when: `approval.approve` or `approval.refuse`.
    pub audit: AuditEntry,
}

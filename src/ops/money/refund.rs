//! A refund of a payment, recorded with its reservation.
//!
//! It is written before the request is answered, and not by a worker: whether there is enough left must be said now.
//! From then on it goes its way, whether the bus takes the call or the scheduler finds the row.

use metrics::counter;

use super::second_person::{RefundContent, Wanted, ask};
use crate::bus::Message;
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::event::command::{Idempotency, RefundDue};
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::ids::{MerchantKey, OrderNo, OutRefundNo, TransactionId};
use crate::money::Fen;
use crate::new_refund::{NotConfigured, REASON_MAX_BYTES, RefundSpec, new_refund};
use crate::ops::replay::Tools;
use crate::ops::{Operator, audit};
use crate::order::PaymentClass;
use crate::refund::{RefundEvent, RefundOrigin};
use crate::secret::sha256_hex;
use crate::store::{
    Approval, ApprovalKind, ApprovalState, AuditEntry, DbError, Decided, NewRefund, PaidAttempt, RefundCap, Reserved,
    StoredRefund,
};
use crate::telemetry::REFUNDS_TOTAL;

/// The longest reason that the payer reads, in bytes.
pub const PAYER_REASON_MAX_BYTES: usize = REASON_MAX_BYTES;

/// A refund that is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub refund_no: OutRefundNo,
    pub amount: Fen,
    /// The whole payment and its currency, as WeChat holds it.
    pub total: Fen,
    pub currency: String,
    /// The name of the API key, or `user:NAME` of a user of the console.
    pub requested_by: String,
    /// What the payer reads.
    pub reason: Option<String>,
    /// What two requests share exactly when they ask for the same refund: see [`content_hash`].
    pub content_hash: String,
    pub idempotency: Option<Idempotency>,
    pub cap: Option<RefundCap>,
    /// The second person's approval, where there is one.
    pub approved: Option<Decided>,
}

/// What came of a request that is not refused.
#[derive(Debug)]
pub enum Recorded {
    New(Box<StoredRefund>),
    /// A refund of this number was recorded before.
    Known(Box<StoredRefund>),
    /// A second person must approve it: nothing was recorded.
    Awaits(Box<Approval>),
}

/// Why a refund is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundRefusal {
    /// The merchant has no certificate, without which WeChat takes no refund.
    NotConfigured,
    /// Less is left of the payment.
    Exceeds { left: Fen },
    /// The payment has had as many refunds as WeChat allows.
    TooMany,
    /// The caller's name for the request is another request's.
    KeyReused,
    /// The client has asked for nearly as much today as it may.
    Capped { left: Fen },
    /// The payment was accepted meanwhile.
    Accepted,
    /// The payment had no order, and its order appeared meanwhile.
    Matched,
    /// Another refund waits for a second person under the number.
    Differs,
    /// A second person refused the refund of this number.
    NotApproved,
    /// It was approved, and its request waits no more.
    NotWaiting,
    /// As many requests of the client as may be wait for a second person.
    ApprovalsUsedUp,
}

impl RefundRefusal {
    /// Its result in the audit.
    pub fn result(&self) -> &'static str {
        match self {
            RefundRefusal::NotConfigured => "refunds_not_configured",
            RefundRefusal::Exceeds { .. } => "refund_exceeds",
            RefundRefusal::TooMany => "refunds_used_up",
            RefundRefusal::KeyReused => "key_reused",
            RefundRefusal::Capped { .. } => "refund_cap",
            RefundRefusal::Accepted => "accepted_meanwhile",
            RefundRefusal::Matched => "matched_meanwhile",
            RefundRefusal::Differs => "refund_differs",
            RefundRefusal::NotApproved => "not_approved",
            RefundRefusal::NotWaiting => "approval_ended",
            RefundRefusal::ApprovalsUsedUp => "approvals_used_up",
        }
    }
}

/// Why a refund is not recorded, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    #[error("refused: {0:?}")]
    Refused(RefundRefusal),
    #[error(transparent)]
    Merchant(#[from] NotConfigured),
    #[error(transparent)]
    Store(#[from] DbError),
}

/// Records a refund of a payment with its reservation, and has WeChat called. One that is refused is in the audit.
pub async fn record(
    tools: Tools<'_>,
    operator: &Operator,
    merchant: &Merchant,
    payment: PaidAttempt,
    asked: Asked,
) -> Result<Recorded, RefundError> {
    let about = About::new(&merchant.key, Some(&payment), &asked.refund_no, asked.reason.as_deref());
    let done = reserve(tools, operator, merchant, payment, asked).await;
    let Err(RefundError::Refused(refusal)) = &done else { return done };
    // The same request, at the same moment, may have taken what was left.
    let known = tools.store.refund(&merchant.key, &about.refund_no).await?;
    // The caller's name of another request is not this refund's.
    if let Some(refund) = known.filter(|_| *refusal != RefundRefusal::KeyReused) {
        return Ok(Recorded::Known(Box::new(refund)));
    }
    audit_refused(tools, operator, about, refusal.result()).await;
    done
}

/// What a request for a refund is about.
#[derive(Debug, Clone)]
pub struct About {
    pub merchant: MerchantKey,
    pub order_no: Option<OrderNo>,
    pub transaction_id: Option<TransactionId>,
    /// Whether money goes back that was not credited.
    pub gives_back: bool,
    pub refund_no: OutRefundNo,
    pub reason: String,
}

impl About {
    /// Of a payment, where one is known.
    pub fn new(
        merchant: &MerchantKey,
        payment: Option<&PaidAttempt>,
        refund_no: &OutRefundNo,
        reason: Option<&str>,
    ) -> About {
        About {
            merchant: merchant.clone(),
            order_no: payment.and_then(|payment| payment.order_no.clone()),
            transaction_id: payment.map(|payment| payment.transaction_id.clone()),
            gives_back: payment.is_some_and(|payment| payment.class != PaymentClass::Credited),
            refund_no: refund_no.clone(),
            reason: reason.unwrap_or_default().to_owned(),
        }
    }

    fn audit(self, operator: &Operator, now: Timestamp) -> AuditEntry {
        let action = if self.gives_back { "payment.give_back" } else { "refund.request" };
        AuditEntry {
            merchant: Some(self.merchant),
            order_no: self.order_no,
            transaction_id: self.transaction_id,
            subject: Some(format!("refund:{}", self.refund_no)),
            ..operator.audit(action, self.reason, now)
        }
    }
}

/// Notes that a refund was refused, with the name of the problem: once for an operator, an address, a payment, a
/// problem and an hour. Nothing was changed, so a row that cannot be written changes nothing of the answer.
pub async fn audit_refused(tools: Tools<'_>, operator: &Operator, about: About, result: &str) {
    let now = tools.clock.now();
    let of = [
        Some(about.merchant.as_str()),
        about.order_no.as_ref().map(OrderNo::as_str),
        about.transaction_id.as_ref().map(TransactionId::as_str),
        Some(result),
    ];
    let key = audit::hourly_key("refund.refused", &of.map(Option::unwrap_or_default).join(" "), operator, now);
    let entry = AuditEntry { result: result.to_owned(), ..about.audit(operator, now) };
    if let Err(e) = tools.store.record_audit_once(&entry, &key).await {
        tracing::error!(error = %e, actor = operator.name, result, "A refund that was refused is not in the audit");
    }
}

async fn reserve(
    tools: Tools<'_>,
    operator: &Operator,
    merchant: &Merchant,
    payment: PaidAttempt,
    asked: Asked,
) -> Result<Recorded, RefundError> {
    let refused = |refusal| Err(RefundError::Refused(refusal));
    if merchant.client_cert_file.is_none() {
        return refused(RefundRefusal::NotConfigured);
    }
    let (store, clock) = (tools.store, tools.clock);
    if asked.approved.is_none()
        && let Some(approval) = store.approval_of_refund(&merchant.key, &asked.refund_no).await?
        && let Some(standing) = standing(approval, &asked.content_hash, clock.now())?
    {
        return standing;
    }
    if asked.amount == Fen::ZERO || asked.amount > payment.left {
        return refused(RefundRefusal::Exceeds { left: payment.left });
    }
    let (content, content_hash) = (content(&payment, &asked)?, asked.content_hash.clone());
    let class = payment.class;
    let new = wanted(tools, operator, merchant, payment, asked)?;
    let reserved = match store.record_refund(&new, clock.now()).await {
        // Another request took the number at the same moment: it is known now.
        Err(DbError::Exists(_)) => store.record_refund(&new, clock.now()).await?,
        other => other?,
    };
    let refund = match reserved {
        Reserved::New(stored) => stored,
        Reserved::Known(stored) => return Ok(Recorded::Known(stored)),
        Reserved::NeedsApproval => {
            let wanted = to_approve(&new, content, class);
            let Some(approval) = ask(tools, operator, wanted, new.reason.unwrap_or_default()).await? else {
                return refused(RefundRefusal::ApprovalsUsedUp);
            };
            // Another one of this number may have come first, and may even have been decided.
            let standing = standing(approval, &content_hash, clock.now())?;
            return standing.unwrap_or(refused(RefundRefusal::NotWaiting));
        }
        Reserved::NotWaiting => return refused(RefundRefusal::NotWaiting),
        Reserved::Exceeds { left } => return refused(RefundRefusal::Exceeds { left }),
        Reserved::TooMany => return refused(RefundRefusal::TooMany),
        Reserved::KeyReused => return refused(RefundRefusal::KeyReused),
        Reserved::Capped { left } => return refused(RefundRefusal::Capped { left }),
        // The payment is not what it was when it was read: accepted, or of an order that appeared.
        Reserved::Accepted if new.order_id.is_some() => return refused(RefundRefusal::Accepted),
        Reserved::Accepted => return refused(RefundRefusal::Matched),
    };
    published(tools, merchant, &new).await;
    Ok(Recorded::New(refund))
}

/// What a request comes to where one of its number was there before: nothing where that one has expired, or was
/// approved, so that its refund is known.
fn standing(
    approval: Approval,
    content_hash: &str,
    now: Timestamp,
) -> Result<Option<Result<Recorded, RefundError>>, DbError> {
    let refused = |refusal| Some(Err(RefundError::Refused(refusal)));
    let is_same = RefundContent::of(&approval)?.content_hash == content_hash;
    Ok(match approval.state_at(now) {
        ApprovalState::Waiting | ApprovalState::Refused if !is_same => refused(RefundRefusal::Differs),
        ApprovalState::Waiting => Some(Ok(Recorded::Awaits(Box::new(approval)))),
        ApprovalState::Refused => refused(RefundRefusal::NotApproved),
        ApprovalState::Approved | ApprovalState::Expired => None,
    })
}

fn to_approve(new: &NewRefund, content: String, class: PaymentClass) -> Wanted {
    Wanted {
        kind: ApprovalKind::Refund,
        merchant: new.merchant.clone(),
        order_no: new.order_no.clone(),
        transaction_id: new.transaction_id.clone(),
        refund_no: Some(new.refund_no.clone()),
        amount: new.amount,
        order_amount: None,
        class: Some(class),
        currency: new.currency.clone(),
        content,
    }
}

/// What the refund needs besides, once it is approved.
fn content(payment: &PaidAttempt, asked: &Asked) -> Result<String, DbError> {
    RefundContent {
        out_trade_no: payment.out_trade_no.clone(),
        paid_fen: asked.total,
        requested_by: asked.requested_by.clone(),
        payer_reason: asked.reason.clone(),
        content_hash: asked.content_hash.clone(),
        idempotency: asked.idempotency.clone(),
        cap: asked.cap.as_ref().map(|cap| (cap.api_key.clone(), cap.cap)),
    }
    .to_json()
}

/// Has WeChat called. The refund is recorded: the scheduler finds it where nothing is published.
async fn published(tools: Tools<'_>, merchant: &Merchant, new: &NewRefund) {
    let clock = tools.clock;
    crate::failpoint::point("refund.recorded");
    let outcome = RefundEvent::Requested.as_str();
    counter!(REFUNDS_TOTAL, "merchant" => merchant.key.to_string(), "outcome" => outcome).increment(1);
    let due = RefundDue { refund_no: new.refund_no.clone(), only_ask: false };
    let envelope = Envelope::new(&merchant.key, RefundDue::TYPE, None, clock.now(), due);
    let id = envelope.id;
    if let Ok(payload) = envelope.to_json() {
        let subject = subject::refund_requested(&merchant.key);
        let message = Message { subject, id, payload: payload.into_bytes(), headers: Vec::new() };
        if let Err(error) = tools.bus.publish(message).await {
            tracing::warn!(refund_no = %new.refund_no, %error, "The call of a refund was not published");
        }
    }
    crate::failpoint::point("refund.published");
}

fn wanted(
    tools: Tools<'_>,
    operator: &Operator,
    merchant: &Merchant,
    payment: PaidAttempt,
    asked: Asked,
) -> Result<NewRefund, NotConfigured> {
    let Asked { refund_no, amount, total, currency, requested_by, reason, content_hash, idempotency, cap, approved } =
        asked;
    let second_person = tools.config.second_person(&merchant.key);
    let now = tools.clock.now();
    let about = About::new(&merchant.key, Some(&payment), &refund_no, reason.as_deref());
    let spec = RefundSpec {
        merchant: merchant.key.clone(),
        order_id: payment.order_id,
        order_no: payment.order_no,
        appid: payment.appid,
        mch_id: payment.mch_id,
        out_trade_no: payment.out_trade_no,
        transaction_id: payment.transaction_id,
        refund_no,
        amount,
        total,
        currency,
        origin: RefundOrigin::Api,
        reason,
        requested_by,
        content_hash,
        known: None,
    };
    let new = new_refund(tools.config, spec, now)?;
    let gives_back = about.gives_back;
    let audit = about.audit(operator, now);
    let (gives_back, audit) = if gives_back { (Some(audit), None) } else { (None, Some(audit)) };
    Ok(NewRefund { gives_back, audit, idempotency, cap, second_person, approved, ..new })
}

/// A hash that two requests share exactly when they ask for the same refund: of this order, or of no order. All that is
/// left has no amount.
pub fn content_hash(
    order_no: Option<&OrderNo>,
    amount: Option<Fen>,
    transaction_id: Option<&TransactionId>,
    reason: Option<&str>,
) -> String {
    let order_no = order_no.map(OrderNo::as_str).unwrap_or_default();
    let amount = amount.map(|amount| amount.to_string()).unwrap_or_default();
    let transaction = transaction_id.map(TransactionId::as_str).unwrap_or_default();
    // Only the last part is free text, so equal texts have equal parts.
    sha256_hex(format!("{order_no}\n{amount}\n{transaction}\n{}", reason.unwrap_or_default()).as_bytes())
}

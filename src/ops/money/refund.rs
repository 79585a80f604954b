//! A refund of a payment, recorded with its reservation.
//!
//! It is written before the request is answered, and not by a worker: whether there is enough left must be said now.
//! From then on it goes its way, whether the bus takes the call or the scheduler finds the row.

use metrics::counter;

use crate::bus::Message;
use crate::config::Merchant;
use crate::event::command::{Idempotency, RefundDue};
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::ids::{OrderNo, OutRefundNo, TransactionId};
use crate::money::Fen;
use crate::new_refund::{NotConfigured, REASON_MAX_BYTES, RefundSpec, new_refund};
use crate::ops::Operator;
use crate::ops::replay::Tools;
use crate::order::PaymentClass;
use crate::refund::{RefundEvent, RefundOrigin};
use crate::secret::sha256_hex;
use crate::store::{AuditEntry, DbError, NewRefund, PaidAttempt, RefundCap, Reserved, StoredRefund};
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
}

/// A refund of this number.
#[derive(Debug)]
pub struct Recorded {
    pub refund: StoredRefund,
    /// Whether it was recorded now.
    pub is_new: bool,
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

/// Records a refund of a payment with its reservation, and has WeChat called.
pub async fn record(
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
    if asked.amount == Fen::ZERO || asked.amount > payment.left {
        return refused(RefundRefusal::Exceeds { left: payment.left });
    }
    let new = wanted(tools, operator, merchant, payment, asked)?;
    let (store, clock) = (tools.store, tools.clock);
    let reserved = match store.record_refund(&new, clock.now()).await {
        // Another request took the number at the same moment: it is known now.
        Err(DbError::Exists(_)) => store.record_refund(&new, clock.now()).await?,
        other => other?,
    };
    let refund = match reserved {
        Reserved::New(stored) => *stored,
        Reserved::Known(stored) => return Ok(Recorded { refund: *stored, is_new: false }),
        Reserved::Exceeds { left } => return refused(RefundRefusal::Exceeds { left }),
        Reserved::TooMany => return refused(RefundRefusal::TooMany),
        Reserved::KeyReused => return refused(RefundRefusal::KeyReused),
        Reserved::Capped { left } => return refused(RefundRefusal::Capped { left }),
        Reserved::Accepted => return refused(moved(tools, &new).await?),
    };
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
            // It is recorded: the scheduler will find it, and the caller is answered that it is pending.
            tracing::warn!(refund_no = %new.refund_no, %error, "The call of a refund was not published");
        }
    }
    crate::failpoint::point("refund.published");
    Ok(Recorded { refund, is_new: true })
}

/// The payment is not what it was when it was read: accepted, or of an order that appeared.
async fn moved(tools: Tools<'_>, new: &NewRefund) -> Result<RefundRefusal, DbError> {
    let (refusal, result) = match new.order_id {
        Some(_) => (RefundRefusal::Accepted, "accepted_meanwhile"),
        None => (RefundRefusal::Matched, "matched_meanwhile"),
    };
    if let Some(audit) = &new.gives_back {
        tools.store.record_audit(&AuditEntry { result: result.into(), ..audit.clone() }).await?;
    }
    Ok(refusal)
}

fn wanted(
    tools: Tools<'_>,
    operator: &Operator,
    merchant: &Merchant,
    payment: PaidAttempt,
    asked: Asked,
) -> Result<NewRefund, NotConfigured> {
    let Asked { refund_no, amount, total, currency, requested_by, reason, content_hash, idempotency, cap } = asked;
    let (class, order_no, now) = (payment.class, payment.order_no.clone(), tools.clock.now());
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
        reason: reason.clone(),
        requested_by,
        content_hash,
        known: None,
    };
    let new = new_refund(tools.config, spec, now)?;
    let is_credited = class == PaymentClass::Credited;
    let action = if is_credited { "refund.request" } else { "payment.give_back" };
    let audit = AuditEntry {
        merchant: Some(merchant.key.clone()),
        order_no,
        transaction_id: Some(new.transaction_id.clone()),
        subject: Some(format!("refund:{}", new.refund_no)),
        ..operator.audit(action, reason.unwrap_or_default(), now)
    };
    let (gives_back, audit) = if is_credited { (None, Some(audit)) } else { (Some(audit), None) };
    Ok(NewRefund { gives_back, audit, idempotency, cap, ..new })
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

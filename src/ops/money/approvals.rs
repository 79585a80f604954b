//! What waits for a second person, and its decision.
//!
//! What must stay true: no client or user approves what it asked for itself, under whatever name of its key, nor does a
//! key that shares a maker with the asker's; what is approved is the operation that was asked for, of the payment as it
//! was then, with its idempotency key and its compare-and-set, and its approval is noted in the same transaction.

use super::accept::{AcceptError, Accepted, accept};
use super::confirm::{NotConfirmed, confirm};
use super::refund::{Asked, Recorded, RefundError, RefundRefusal, record};
use super::second_person::RefundContent;
use crate::config::Merchant;
use crate::ops::replay::Tools;
use crate::ops::{Operator, Page};
use crate::order::Refusal;
use crate::store::{
    Approval, ApprovalKind, ApprovalState, AuditEntry, DbError, Decided, PaidAttempt, RefundCap, Scanned, Store,
    StoredRefund,
};

/// Which requests are listed.
#[derive(Debug, Clone, Default)]
pub struct ApprovalFilter {
    /// None: those that the operator sees.
    pub merchants: Option<Vec<crate::ids::MerchantKey>>,
    /// Only those that wait at this time.
    pub waiting_at: Option<crate::clock::Timestamp>,
    /// Older than this one.
    pub before: Option<i64>,
}

/// Why a request is not decided.
#[derive(Debug, thiserror::Error)]
pub enum ApproveError {
    #[error("there is no such request")]
    NotFound,
    #[error("who asked does not decide")]
    Own,
    #[error("it was decided otherwise, or its time is over")]
    Ended,
    #[error(transparent)]
    Confirm(#[from] NotConfirmed),
    #[error("{}", .0.reason())]
    Held(Refusal),
    #[error(transparent)]
    Accept(#[from] AcceptError),
    #[error(transparent)]
    Refund(#[from] RefundError),
    #[error(transparent)]
    Store(#[from] DbError),
}

/// Requests, newest first.
pub async fn approvals(store: &Store, filter: &ApprovalFilter, limit: u64) -> Result<Page<Approval, i64>, DbError> {
    let rows = store.approvals(filter.merchants.as_deref(), filter.waiting_at, filter.before, limit).await?;
    Ok(Page::of(Scanned { rows, to: None }, limit, |row| row.id))
}

/// A request that the operator sees.
async fn seen(store: &Store, operator: &Operator, id: i64) -> Result<Approval, ApproveError> {
    let found = store.approval(id).await?.filter(|approval| operator.sees(&approval.merchant));
    found.ok_or(ApproveError::NotFound)
}

/// Refuses a request, or withdraws one's own: nothing moves. Refused before, it stays as it is.
pub async fn refuse(tools: Tools<'_>, operator: &Operator, id: i64, reason: &str) -> Result<Approval, ApproveError> {
    let approval = seen(tools.store, operator, id).await?;
    let decided = decided(tools, operator, &approval, ("approval.refuse", reason));
    match approval.state_at(tools.clock.now()) {
        ApprovalState::Refused => return Ok(approval),
        ApprovalState::Approved | ApprovalState::Expired => return ended(tools, decided).await,
        ApprovalState::Waiting => {}
    }
    if operator.id != approval.asked_by_id {
        others_only(tools, operator, &approval, &decided).await?;
    }
    if !tools.store.refuse_approval(&decided).await? {
        return after_all(tools, decided, ApprovalState::Refused).await;
    }
    seen(tools.store, operator, id).await
}

/// Does what was asked for, if WeChat still holds the payment. Approved before, by any other, it is not done again.
pub async fn approve(tools: Tools<'_>, operator: &Operator, id: i64, reason: &str) -> Result<Approval, ApproveError> {
    let approval = seen(tools.store, operator, id).await?;
    let decided = decided(tools, operator, &approval, ("approval.approve", reason));
    match approval.state_at(tools.clock.now()) {
        ApprovalState::Approved => return Ok(approval),
        ApprovalState::Refused | ApprovalState::Expired => return ended(tools, decided).await,
        ApprovalState::Waiting => {}
    }
    others_only(tools, operator, &approval, &decided).await?;
    let merchant = tools.config.merchant(approval.merchant.as_str()).ok_or(ApproveError::NotFound)?;
    let payment = tools.store.paid_attempt(&approval.merchant, &approval.transaction_id).await?;
    let payment = payment.ok_or(ApproveError::NotFound)?;
    let done = match approval.kind {
        ApprovalKind::Accept => credited(tools, &approval, merchant, &payment, &decided).await,
        ApprovalKind::Refund => refunded(tools, &approval, merchant, payment, &decided).await,
    };
    match done {
        Ok(()) => {}
        Err(ApproveError::Ended) => return after_all(tools, decided, ApprovalState::Approved).await,
        Err(error) => {
            not_done(tools, decided, &error).await?;
            return Err(error);
        }
    }
    seen(tools.store, operator, id).await
}

/// Notes that an approval came to nothing. Its request waits on, except for one whose Idempotency-Key is another
/// refund's: no later approval finds that key free, so the request ends as refused, with the reason.
async fn not_done(tools: Tools<'_>, decided: Decided, error: &ApproveError) -> Result<(), DbError> {
    let audit = AuditEntry { result: result_of(error).to_owned(), ..decided.audit };
    if let ApproveError::Refund(RefundError::Refused(RefundRefusal::KeyReused)) = error {
        let reason = format!("{}; not done: its Idempotency-Key is another refund's", audit.reason);
        let refused = Decided { id: decided.id, audit: AuditEntry { reason, ..audit.clone() } };
        if tools.store.refuse_approval(&refused).await? {
            return Ok(());
        }
    }
    tools.store.record_audit(&audit).await
}

/// Who asked is asked for, as it stands in the audit.
fn asker(approval: &Approval) -> Operator {
    Operator {
        name: approval.asked_by.clone(),
        id: approval.asked_by_id.clone(),
        key: approval.asked_key_id.clone(),
        remote_addr: approval.asked_from.clone(),
        merchants: None,
    }
}

fn decided(
    tools: Tools<'_>,
    operator: &Operator,
    approval: &Approval,
    (action, reason): (&'static str, &str),
) -> Decided {
    let reason = format!("{reason} (asked for by {})", approval.asked_by);
    let audit = AuditEntry {
        merchant: Some(approval.merchant.clone()),
        order_no: approval.order_no.clone(),
        transaction_id: Some(approval.transaction_id.clone()),
        subject: Some(format!("approval:{}", approval.id)),
        ..operator.audit(action, reason, tools.clock.now())
    };
    Decided { id: approval.id, audit }
}

/// Neither who asked decides, nor another key of its client, nor its makers and theirs, nor a key that one of them
/// made: who makes two keys stands behind both of them.
async fn others_only(
    tools: Tools<'_>,
    operator: &Operator,
    approval: &Approval,
    decided: &Decided,
) -> Result<(), ApproveError> {
    let asker = tools.store.key_line(&approval.asked_key_id, &approval.asked_by_id).await?;
    let decider = tools.store.key_line(&operator.key, &operator.id).await?;
    if let (Some(asker), Some(decider)) = (asker, decider)
        && asker.is_disjoint(&decider)
    {
        return Ok(());
    }
    tools.store.record_audit(&AuditEntry { result: "own".to_owned(), ..decided.audit.clone() }).await?;
    Err(ApproveError::Own)
}

async fn ended(tools: Tools<'_>, decided: Decided) -> Result<Approval, ApproveError> {
    tools.store.record_audit(&AuditEntry { result: "ended".to_owned(), ..decided.audit }).await?;
    Err(ApproveError::Ended)
}

/// What another decision that came first makes of this one.
async fn after_all(tools: Tools<'_>, decided: Decided, wanted: ApprovalState) -> Result<Approval, ApproveError> {
    let approval = tools.store.approval(decided.id).await?.ok_or(ApproveError::NotFound)?;
    if approval.state == wanted { Ok(approval) } else { ended(tools, decided).await }
}

async fn credited(
    tools: Tools<'_>,
    approval: &Approval,
    merchant: &Merchant,
    payment: &PaidAttempt,
    decided: &Decided,
) -> Result<(), ApproveError> {
    let order_no = approval.order_no.as_ref().ok_or(ApproveError::NotFound)?;
    let order = tools.store.order(&approval.merchant, order_no).await?.ok_or(ApproveError::NotFound)?;
    let held = confirm(tools, merchant, payment).await?;
    // Money that a person gave back in the merchant platform is not there to be credited.
    if held.is_refunded {
        tools.store.poll_order_by(order.order.id, tools.clock.now()).await?;
        return Err(ApproveError::Held(Refusal::GivenBack));
    }
    let asked = (approval.transaction_id.clone(), approval.reason.clone());
    match accept(tools, &asker(approval), &order, asked, Some(decided.clone())).await {
        Ok(Accepted::Done) => Ok(()),
        // By another process, or without a second person by one of the version before.
        Ok(Accepted::Repeated) => noted(tools, decided).await,
        Ok(Accepted::Refused(refusal)) => Err(ApproveError::Held(refusal)),
        Ok(Accepted::Awaits(_)) => Err(ApproveError::Ended),
        Err(AcceptError::Store(DbError::Defect(_))) if !waits(tools, decided.id).await? => Err(ApproveError::Ended),
        Err(e) => Err(e.into()),
    }
}

async fn refunded(
    tools: Tools<'_>,
    approval: &Approval,
    merchant: &Merchant,
    payment: PaidAttempt,
    decided: &Decided,
) -> Result<(), ApproveError> {
    let refund_no = approval.refund_no.clone().ok_or(ApproveError::NotFound)?;
    let content = RefundContent::of(approval)?;
    let content_hash = content.content_hash.clone();
    let held = confirm(tools, merchant, &payment).await?;
    let payment = as_asked(approval, payment)?;
    let day = tools.clock.now().to_beijing()[..8].to_owned();
    let asked = Asked {
        refund_no,
        amount: approval.amount,
        total: held.total,
        currency: held.currency,
        requested_by: content.requested_by,
        reason: content.payer_reason,
        content_hash: content.content_hash,
        idempotency: content.idempotency,
        cap: content.cap.map(|(api_key, cap)| RefundCap { api_key, day, cap }),
        approved: Some(decided.clone()),
    };
    match record(tools, &asker(approval), merchant, payment, asked).await {
        Ok(Recorded::New(_)) => Ok(()),
        Ok(Recorded::Known(known)) if is_approved(approval, &content_hash, &known) => noted(tools, decided).await,
        Ok(Recorded::Known(_)) => Err(RefundError::Refused(RefundRefusal::Differs).into()),
        Ok(Recorded::Awaits(_)) | Err(RefundError::Refused(RefundRefusal::NotWaiting)) => Err(ApproveError::Ended),
        Err(e) => Err(e.into()),
    }
}

/// The payment as it was when its refund was asked for. Whether it still is that, is compared under the lock: money
/// that was to go back may be credited now, money of no order may have its order.
fn as_asked(approval: &Approval, payment: PaidAttempt) -> Result<PaidAttempt, RefundError> {
    let class = approval.class.unwrap_or(payment.class);
    match &approval.order_no {
        None => Ok(PaidAttempt { order_id: None, order_no: None, class, ..payment }),
        Some(_) if approval.order_no == payment.order_no => Ok(PaidAttempt { class, ..payment }),
        Some(_) => Err(RefundError::Refused(RefundRefusal::Matched)),
    }
}

/// Whether a refund of the number is the one that is approved.
fn is_approved(approval: &Approval, content_hash: &str, known: &StoredRefund) -> bool {
    let refund = &known.refund;
    known.content_hash == content_hash
        && refund.amount == approval.amount
        && refund.transaction_id == approval.transaction_id
}

/// What was asked for is there already, and is noted as approved.
async fn noted(tools: Tools<'_>, decided: &Decided) -> Result<(), ApproveError> {
    if tools.store.note_approved(decided).await? { Ok(()) } else { Err(ApproveError::Ended) }
}

async fn waits(tools: Tools<'_>, id: i64) -> Result<bool, DbError> {
    Ok(tools.store.approval(id).await?.is_some_and(|approval| approval.state == ApprovalState::Waiting))
}

/// The result in the audit of an approval that came to nothing.
fn result_of(error: &ApproveError) -> &'static str {
    match error {
        ApproveError::NotFound => "not_found",
        ApproveError::Own => "own",
        ApproveError::Ended => "ended",
        ApproveError::Confirm(why) => why.result(),
        ApproveError::Held(refusal) => refusal.reason(),
        ApproveError::Refund(RefundError::Refused(refusal)) => refusal.result(),
        ApproveError::Accept(_) | ApproveError::Refund(_) | ApproveError::Store(_) => "failed",
    }
}

//! Crediting money that is held: late, a second payment, older than the order, or of another amount.
//!
//! Accepting it and giving it back exclude each other: both lock the order's row and read the payment under the lock.
//! WeChat is asked before: what was given back in the merchant platform, and not reported yet, is not there to be
//! credited.
//! Every request is in the audit, with who, from where, why and its result. Above an amount, of the payment or of an
//! order that none counts for yet, it takes a second person: what it approves is done in the transaction that notes the
//! approval.

use std::collections::HashMap;

use super::confirm::{NotConfirmed, confirm};
use super::second_person::{Wanted, ask};
use crate::clock::Timestamp;
use crate::event::fact::{Fact, Payment};
use crate::ids::{MerchantKey, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::ops::Operator;
use crate::ops::replay::Tools;
use crate::order::{Decision, Policy, Refusal, decide, of_order};
use crate::store::{
    Approval, ApprovalKind, AuditEntry, DbError, Decided, Evidence, EvidenceSource, OrderCommit, OrderDecision,
    Reclassed, StoredOrder,
};

/// How often it is decided anew because others change the order at the same time.
const MAX_ROUNDS: usize = 5;

/// What a request to accept a payment came to.
#[derive(Debug, Clone)]
pub enum Accepted {
    Done,
    /// The payment was credited before.
    Repeated,
    Refused(Refusal),
    /// A second person must approve it: nothing was credited.
    Awaits(Box<Approval>),
}

/// What came of the decision on the locked order.
enum Outcome {
    Done,
    Repeated,
    Refused(Refusal),
    NeedsApproval,
}

/// Why it came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("the order is changed by others all the time")]
    Busy,
    #[error("as many requests of this client as may be wait for a second person")]
    UsedUp,
    #[error(transparent)]
    Confirm(#[from] NotConfirmed),
    #[error(transparent)]
    Store(#[from] DbError),
}

/// Credits a payment of an order that the operator may see; or, where it is too large for one person and `approved` by
/// none, asks for a second one.
pub async fn accept(
    tools: Tools<'_>,
    operator: &Operator,
    order: &StoredOrder,
    (transaction_id, reason): (TransactionId, String),
    approved: Option<Decided>,
) -> Result<Accepted, AcceptError> {
    let (store, clock, merchant) = (tools.store, tools.clock, &order.order.merchant);
    let audit = AuditEntry {
        merchant: Some(merchant.clone()),
        order_no: Some(order.order.order_no.clone()),
        transaction_id: Some(transaction_id.clone()),
        ..operator.audit("payment.accept", reason, clock.now())
    };
    let outcome = match store.reported_payment(order.order.id, &transaction_id).await? {
        Some(payment) => {
            let limit = tools.config.second_person(merchant);
            let wanted = wanted(order, &payment);
            // Who approves has asked WeChat already.
            let is_there = match approved {
                None if credits(order, &payment, clock.now()) => is_there(tools, order, &payment).await,
                None | Some(_) => Ok(true),
            };
            let outcome = match is_there {
                Ok(true) => decided(tools, merchant, payment, (&audit, limit, approved)).await,
                Ok(false) => Ok(Outcome::Refused(Refusal::GivenBack)),
                Err(e) => Err(e),
            };
            match outcome {
                Err(AcceptError::Confirm(why)) => {
                    let result = why.result().to_owned();
                    store.record_audit(&AuditEntry { at: clock.now(), result, ..audit }).await?;
                    return Err(why.into());
                }
                Err(AcceptError::Busy) => {
                    let audit = AuditEntry { at: clock.now(), result: "busy".to_owned(), ..audit };
                    store.record_audit(&audit).await?;
                    return Err(AcceptError::Busy);
                }
                Ok(Outcome::NeedsApproval) => {
                    if let Some(approval) = ask(tools, operator, wanted, audit.reason.clone()).await? {
                        return Ok(Accepted::Awaits(Box::new(approval)));
                    }
                    store.record_audit(&AuditEntry { result: "approvals_used_up".to_owned(), ..audit }).await?;
                    return Err(AcceptError::UsedUp);
                }
                other => other?,
            }
        }
        None => Outcome::Refused(Refusal::UnknownPayment),
    };
    let (accepted, result) = match outcome {
        Outcome::Refused(refusal) => {
            let result = refusal.reason();
            (Accepted::Refused(refusal), Some(result))
        }
        Outcome::Repeated => (Accepted::Repeated, Some("repeated")),
        Outcome::Done | Outcome::NeedsApproval => (Accepted::Done, None),
    };
    if let Some(result) = result {
        store.record_audit(&AuditEntry { result: result.to_owned(), ..audit }).await?;
    }
    Ok(accepted)
}

/// Whether accepting the payment would credit it, as the order was read.
fn credits(order: &StoredOrder, payment: &Payment, now: Timestamp) -> bool {
    let fact = Fact::PaymentAccepted(payment.clone());
    matches!(decide(&order.order, &payment.out_trade_no, &fact, now, Policy::default()), Decision::Apply(_))
}

/// Whether WeChat still holds the whole payment. What went back is learnt by the order's next poll, which comes now.
async fn is_there(tools: Tools<'_>, order: &StoredOrder, payment: &Payment) -> Result<bool, AcceptError> {
    let merchant = &order.order.merchant;
    let paid = tools.store.paid_attempt(merchant, &payment.transaction_id).await?;
    let (Some(paid), Some(merchant)) = (paid, tools.config.merchant(merchant.as_str())) else {
        return Err(NotConfirmed::Unavailable("the merchant is not configured".to_owned()).into());
    };
    let held = confirm(tools, merchant, &paid).await?;
    if held.is_refunded {
        tools.store.poll_order_by(order.order.id, tools.clock.now()).await?;
    }
    Ok(!held.is_refunded)
}

/// What a second person is asked for.
fn wanted(order: &StoredOrder, payment: &Payment) -> Wanted {
    Wanted {
        kind: ApprovalKind::Accept,
        merchant: order.order.merchant.clone(),
        order_no: Some(order.order.order_no.clone()),
        transaction_id: payment.transaction_id.clone(),
        refund_no: None,
        amount: payment.total_fee,
        order_amount: Some(order.order.amount),
        class: None,
        currency: payment.fee_type.clone(),
        content: "{}".to_owned(),
    }
}

async fn decided(
    tools: Tools<'_>,
    merchant: &MerchantKey,
    payment: Payment,
    (audit, limit, approved): (&AuditEntry, Option<Fen>, Option<Decided>),
) -> Result<Outcome, AcceptError> {
    for _ in 0..MAX_ROUNDS {
        let now = tools.clock.now();
        let accepting = Accepting {
            merchant: merchant.clone(),
            payment: payment.clone(),
            audit: audit.clone(),
            now,
            limit,
            approved: approved.clone(),
        };
        let (outcome, conflicts) = tools.store.change_orders(accepting, now).await?;
        if conflicts.is_empty() {
            return Ok(outcome);
        }
    }
    Err(AcceptError::Busy)
}

/// The decision, made on the locked order.
struct Accepting {
    payment: Payment,
    merchant: MerchantKey,
    audit: AuditEntry,
    now: Timestamp,
    /// Above what one person does not decide it.
    limit: Option<Fen>,
    approved: Option<Decided>,
}

impl OrderDecision for Accepting {
    type Outcome = Outcome;

    fn locks(&self) -> bool {
        true
    }

    fn attempts(&self) -> HashMap<MerchantKey, Vec<OutTradeNo>> {
        HashMap::from([(self.merchant.clone(), vec![self.payment.out_trade_no.clone()])])
    }

    fn decide(&self, mut orders: Vec<StoredOrder>) -> (Vec<OrderCommit>, Outcome) {
        let Some(stored) = orders.pop() else {
            return (Vec::new(), Outcome::Refused(Refusal::UnknownPayment));
        };
        let (order, number) = (&stored.order, &self.payment.out_trade_no);
        let fact = Fact::PaymentAccepted(self.payment.clone());
        let change = match decide(order, number, &fact, self.now, Policy::default()) {
            Decision::Apply(change) => *change,
            Decision::AlreadyApplied | Decision::AskAgain { .. } => return (Vec::new(), Outcome::Repeated),
            Decision::Refused(refusal) => return (Vec::new(), Outcome::Refused(refusal)),
        };
        // The first payment that counts has the order delivered, however small it is.
        let paid = self.payment.total_fee;
        let stake = if order.paid_reported { paid } else { paid.max(order.amount) };
        if self.approved.is_none() && self.limit.is_some_and(|limit| stake > limit) {
            return (Vec::new(), Outcome::NeedsApproval);
        }
        let by = match &self.approved {
            Some(approved) => format!("{}, approved by {}", self.audit.actor, approved.audit.actor),
            None => self.audit.actor.clone(),
        };
        let source = EvidenceSource::Request { by: by.clone() };
        let event = |news| of_order(&change.next, &stored.content, news, source.name()).encode(self.now);
        let events = change.news.into_iter().map(event).collect();
        let (received_at, state) = (self.now, change.next.state);
        let evidence = Evidence { out_trade_no: number.clone(), fact, source, received_at, took: None, state };
        let reason = self.audit.reason.clone();
        let commit = OrderCommit {
            before: order.version,
            attempts_before: order.attempts.len(),
            evidence: vec![(change.next.version, evidence)],
            next: change.next,
            new_params: Vec::new(),
            wanted: None,
            payments: Vec::new(),
            reclassed: change.reclassed.map(|change| Reclassed { change, reason, by }),
            audit: Some(self.audit.clone()),
            approved: self.approved.clone(),
            events,
            notifications: Vec::new(),
            calls: Vec::new(),
            finished: Vec::new(),
            refunds: Vec::new(),
        };
        (vec![commit], Outcome::Done)
    }
}

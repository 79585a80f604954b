//! Crediting money that is held: late, a second payment, older than the order, or of another amount.
//!
//! Accepting it and giving it back exclude each other: both lock the order's row and read the payment under the lock.
//! Every request is in the audit, with who, from where, why and its result.

use std::collections::HashMap;

use crate::clock::{Clock, Timestamp};
use crate::event::fact::{Fact, Payment};
use crate::ids::{MerchantKey, OutTradeNo, TransactionId};
use crate::ops::Operator;
use crate::order::{Decision, Policy, Refusal, decide, of_order};
use crate::store::{
    AuditEntry, DbError, Evidence, EvidenceSource, OrderCommit, OrderDecision, Reclassed, Store, StoredOrder,
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
}

/// Why it came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("the order is changed by others all the time")]
    Busy,
    #[error(transparent)]
    Store(#[from] DbError),
}

/// Credits a payment of an order that the operator may see.
pub async fn accept(
    store: &Store,
    clock: &Clock,
    operator: &Operator,
    order: &StoredOrder,
    (transaction_id, reason): (TransactionId, String),
) -> Result<Accepted, AcceptError> {
    let merchant = &order.order.merchant;
    let audit = AuditEntry {
        merchant: Some(merchant.clone()),
        order_no: Some(order.order.order_no.clone()),
        transaction_id: Some(transaction_id.clone()),
        ..operator.audit("payment.accept", reason, clock.now())
    };
    let outcome = match store.reported_payment(order.order.id, &transaction_id).await? {
        Some(payment) => match decided(store, clock, merchant, payment, &audit).await {
            Err(AcceptError::Busy) => {
                let audit = AuditEntry { at: clock.now(), result: "busy".to_owned(), ..audit };
                store.record_audit(&audit).await?;
                return Err(AcceptError::Busy);
            }
            other => other?,
        },
        None => Accepted::Refused(Refusal::UnknownPayment),
    };
    let result = match &outcome {
        Accepted::Done => None,
        Accepted::Repeated => Some("repeated"),
        Accepted::Refused(refusal) => Some(refusal.reason()),
    };
    if let Some(result) = result {
        store.record_audit(&AuditEntry { result: result.to_owned(), ..audit }).await?;
    }
    Ok(outcome)
}

async fn decided(
    store: &Store,
    clock: &Clock,
    merchant: &MerchantKey,
    payment: Payment,
    audit: &AuditEntry,
) -> Result<Accepted, AcceptError> {
    for _ in 0..MAX_ROUNDS {
        let now = clock.now();
        let accepting = Accepting { merchant: merchant.clone(), payment: payment.clone(), audit: audit.clone(), now };
        let (outcome, conflicts) = store.change_orders(accepting, now).await?;
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
}

impl OrderDecision for Accepting {
    type Outcome = Accepted;

    fn locks(&self) -> bool {
        true
    }

    fn attempts(&self) -> HashMap<MerchantKey, Vec<OutTradeNo>> {
        HashMap::from([(self.merchant.clone(), vec![self.payment.out_trade_no.clone()])])
    }

    fn decide(&self, mut orders: Vec<StoredOrder>) -> (Vec<OrderCommit>, Accepted) {
        let Some(stored) = orders.pop() else {
            return (Vec::new(), Accepted::Refused(Refusal::UnknownPayment));
        };
        let (order, number) = (&stored.order, &self.payment.out_trade_no);
        let fact = Fact::PaymentAccepted(self.payment.clone());
        let change = match decide(order, number, &fact, self.now, Policy::default()) {
            Decision::Apply(change) => *change,
            Decision::AlreadyApplied | Decision::AskAgain { .. } => return (Vec::new(), Accepted::Repeated),
            Decision::Refused(refusal) => return (Vec::new(), Accepted::Refused(refusal)),
        };
        let source = EvidenceSource::Request { by: self.audit.actor.clone() };
        let event = |news| of_order(&change.next, &stored.content, news, source.name()).encode(self.now);
        let events = change.news.into_iter().map(event).collect();
        let (received_at, state) = (self.now, change.next.state);
        let evidence = Evidence { out_trade_no: number.clone(), fact, source, received_at, took: None, state };
        let (reason, by) = (self.audit.reason.clone(), self.audit.actor.clone());
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
            events,
            notifications: Vec::new(),
            calls: Vec::new(),
            finished: Vec::new(),
            refunds: Vec::new(),
        };
        (vec![commit], Accepted::Done)
    }
}

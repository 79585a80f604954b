//! `POST /v1/orders/{order_no}/accept`: an operator credits money that is held.
//!
//! Held money is late, a second payment, older than the order, or of another amount. Accepting it and giving it back
//! exclude each other: both lock the order's row and read the payment under the lock. Every request is in the audit,
//! with who, from where, why and its result.

use std::collections::HashMap;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};

use super::get::find;
use super::view::OrderJson;
use crate::clock::Timestamp;
use crate::event::fact::{Fact, Payment};
use crate::http::extract::auth::{Authorized, Ops};
use crate::http::extract::json_object::Form;
use crate::http::extract::path::OrderPath;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{MerchantQuery, StrictQuery};
use crate::http::orders::request::plain;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ids::{MerchantKey, OutTradeNo, TransactionId};
use crate::order::{Decision, Policy, Refusal, decide, of_order};
use crate::store::{AuditEntry, Evidence, EvidenceSource, OrderCommit, OrderDecision, Reclassed, StoredOrder};

/// The longest reason, in bytes.
const REASON_MAX_BYTES: usize = 500;
/// How often it is decided anew because others change the order at the same time.
const MAX_ROUNDS: usize = 5;

pub async fn accept(
    app: HttpState,
    caller: Authorized<Ops>,
    StrictQuery(query): StrictQuery<MerchantQuery>,
    OrderPath(order_no): OrderPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let (transaction_id, reason) = parse(&body)?;
    let order = find(&app, &caller, query.merchant.as_deref(), &order_no).await?;
    let audit = AuditEntry {
        at: app.clock.now(),
        actor: caller.name().to_owned(),
        actor_id: Some(caller.id().to_owned()),
        remote_addr: client.to_string(),
        action: "payment.accept",
        merchant: Some(order.order.merchant.clone()),
        order_no: Some(order_no.clone()),
        transaction_id: Some(transaction_id.clone()),
        subject: None,
        reason,
        result: "done".to_owned(),
    };
    let outcome = match app.store.reported_payment(order.order.id, &transaction_id).await? {
        Some(payment) => decided(&app, &order.order.merchant, payment, &audit).await?,
        None => Outcome::Refused(Refusal::UnknownPayment),
    };
    let result = match &outcome {
        Outcome::Done => None,
        Outcome::Repeated => Some("repeated"),
        Outcome::Refused(refusal) => Some(refusal.reason()),
    };
    if let Some(result) = result {
        app.store.record_audit(&AuditEntry { result: result.to_owned(), ..audit }).await?;
    }
    match outcome {
        Outcome::Done | Outcome::Repeated => {}
        Outcome::Refused(Refusal::GivenBack) => return Err(Error::PaymentGivenBack),
        Outcome::Refused(Refusal::ForeignPayment) => return Err(Error::PaymentForeign),
        Outcome::Refused(_) => return Err(Error::NotFound("payment of this order")),
    }
    let order = find(&app, &caller, query.merchant.as_deref(), &order_no).await?;
    let payments = app.store.payments_of_order(order.order.id).await?;
    let refunds = app.store.refunds_of_order(order.order.id).await?;
    // Without the order's token and pay parameters, which belong to who may place orders.
    Ok(axum::Json(OrderJson::state(&order).with_money(&payments, &refunds)).into_response())
}

fn parse(body: &[u8]) -> Result<(TransactionId, String), Error> {
    let mut form = Form::parse(body)?;
    let transaction_id = form.parsed("transaction_id", TransactionId::parse);
    let reason = plain(&mut form, "reason", REASON_MAX_BYTES).filter(|reason| !reason.trim().is_empty());
    let mut problems = form.finish();
    let is_reported = |name: &str, problems: &[FieldProblem]| problems.iter().any(|p| p.is_about(name));
    for (name, missing) in [("transaction_id", transaction_id.is_none()), ("reason", reason.is_none())] {
        if missing && !is_reported(name, &problems) {
            problems.push(FieldProblem::member(name, "is required"));
        }
    }
    match (transaction_id, reason) {
        (Some(transaction_id), Some(reason)) if problems.is_empty() => Ok((transaction_id, reason)),
        _ => Err(Error::Invalid(problems)),
    }
}

/// What a decision came to.
#[derive(Debug, Clone)]
enum Outcome {
    Done,
    /// The payment was credited before.
    Repeated,
    Refused(Refusal),
}

async fn decided(
    app: &HttpState,
    merchant: &MerchantKey,
    payment: Payment,
    audit: &AuditEntry,
) -> Result<Outcome, Error> {
    for _ in 0..MAX_ROUNDS {
        let now = app.clock.now();
        let accepting = Accepting { merchant: merchant.clone(), payment: payment.clone(), audit: audit.clone(), now };
        let (outcome, conflicts) = app.store.change_orders(accepting, now).await?;
        if conflicts.is_empty() {
            return Ok(outcome);
        }
    }
    Err(Error::Unavailable { internal: "the order is changed by others all the time".into() })
}

/// The decision, made on the locked order.
struct Accepting {
    payment: Payment,
    merchant: MerchantKey,
    audit: AuditEntry,
    now: Timestamp,
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
        let source = EvidenceSource::Request { by: self.audit.actor.clone() };
        let event = |news| of_order(&change.next, news, source.name()).encode(self.now);
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
            refunds: Vec::new(),
        };
        (vec![commit], Outcome::Done)
    }
}

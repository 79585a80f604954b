//! The only place where an order changes: state, evidence, ledger and outbox in one transaction.
//!
//! A change names the version it was decided on (compare-and-set). A batch of changes shares one transaction and one
//! fsync; an order that was changed concurrently is left out with everything that belongs to it and reported, so that
//! its facts are decided anew. Nothing here can write an order's state without its evidence, or the evidence without
//! the state.

use std::collections::{HashMap, HashSet};

use sea_orm::{Set, Value};

use super::calls::{CallRecord, write_calls};
use super::read::orders_of_attempts;
use super::rows::{AttemptParams, StoredOrder};
use crate::clock::Timestamp;
use crate::event::domain::EncodedEvent;
use crate::ids::{MerchantKey, OutTradeNo};
use crate::money::Fen;
use crate::order::{AttemptState, Intent, Order, OrderState, PaymentEntry};
use crate::refund::RefundEvent;
use crate::store::Store;
use crate::store::db::{DbError, DbKind, placeholders};
use crate::store::entity::attempt;
use crate::store::evidence::{Evidence, NotificationRecord, evidence_row, outbox_row, source_of, write_notifications};
use crate::store::outbox::write_events;
use crate::store::packed::rows::write_evidence;
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::payment::commit::{Entered, Reclassed, enter, reclass};
use crate::store::refund::lock::lock_orders;
use crate::store::refund::record::{Reserved, reserve};
use crate::store::refund::rows::NewRefund;
use crate::store::writer::{Reader, WriteTx};
use crate::telemetry::REFUNDS_TOTAL;

/// One order's change.
#[derive(Debug, Clone)]
pub struct OrderCommit {
    /// The version that was decided on.
    pub before: i64,
    /// How many attempts the order had then; later ones are new.
    pub attempts_before: usize,
    /// The order as it will be.
    pub next: Order,
    /// What the new attempts will be sent.
    pub new_params: Vec<AttemptParams>,
    /// What the attempt that the business asked for will be sent, while it is not opened.
    pub wanted: Option<AttemptParams>,
    /// One per version between `before` and `next`, with the version each made.
    pub evidence: Vec<(i64, Evidence)>,
    /// Payments, with the version that entered each.
    pub payments: Vec<(i64, PaymentEntry)>,
    /// A payment that an operator moved to another class.
    pub reclassed: Option<Reclassed>,
    /// The operator's action.
    pub audit: Option<AuditEntry>,
    /// Events to tell.
    pub events: Vec<EncodedEvent>,
    /// Notifications that led here, or changed nothing.
    pub notifications: Vec<NotificationRecord>,
    /// Calls to WeChat that are in no evidence.
    pub calls: Vec<CallRecord>,
    /// Money to send back, because the merchant's policy says so. One that is recorded already stays as it is.
    pub refunds: Vec<NewRefund>,
}

/// A decision on orders that are loaded and changed in one write.
pub trait OrderDecision: Send + Sync + 'static {
    /// What the caller gets to know once it is durable.
    type Outcome: Send + 'static;

    /// Whether the orders are locked before they are loaded: what it decides on may change beside the order's version.
    fn locks(&self) -> bool {
        false
    }

    /// The attempts whose orders it needs, in any order.
    fn attempts(&self) -> HashMap<MerchantKey, Vec<OutTradeNo>>;

    /// Decides. Without any other effect, because the write may be run again.
    fn decide(&self, orders: Vec<StoredOrder>) -> (Vec<OrderCommit>, Self::Outcome);
}

impl Store {
    /// Loads orders, lets the decision be made on them, and commits the changes it returns, in one write. Returns the
    /// ids of the orders that were changed concurrently, too: nothing of those was written.
    ///
    /// A change that breaks a unique rule (a transaction that another order's ledger row has) fails the whole batch
    /// with [`DbError::Exists`]: the caller decides one by one to find it.
    pub async fn change_orders<D: OrderDecision>(
        &self,
        decision: D,
        at: Timestamp,
    ) -> Result<(D::Outcome, HashSet<i64>), DbError> {
        let write = (decision, at);
        let (outcome, conflicts, sent_back) =
            self.db.write("order.commit", write, |tx, (decision, at)| Box::pin(change(tx, decision, *at))).await?;
        for merchant in sent_back {
            let outcome = RefundEvent::Requested.as_str();
            metrics::counter!(REFUNDS_TOTAL, "merchant" => merchant, "outcome" => outcome).increment(1);
        }
        self.changed();
        Ok((outcome, conflicts))
    }
}

async fn change<D: OrderDecision>(
    tx: &WriteTx,
    decision: &D,
    at: Timestamp,
) -> Result<(D::Outcome, HashSet<i64>, Vec<String>), DbError> {
    let mut orders = Vec::new();
    for (merchant, numbers) in decision.attempts() {
        if decision.locks() {
            lock_orders(tx, &merchant, &numbers).await?;
        }
        orders.extend(orders_of_attempts(Reader::Write(tx), &merchant, &numbers).await?);
    }
    let (mut changes, outcome) = decision.decide(orders);
    // In the order of the rows: two processes that lock the same orders then wait for each other without a deadlock.
    changes.sort_by_key(|change| change.next.id);
    let (conflicts, sent_back) = commit(tx, &changes, at).await?;
    Ok((outcome, conflicts, sent_back))
}

/// The orders that changed meanwhile, and the merchants of the refunds that were recorded.
async fn commit(tx: &WriteTx, changes: &[OrderCommit], at: Timestamp) -> Result<(HashSet<i64>, Vec<String>), DbError> {
    let won = cas_orders(tx, changes, at).await?;
    let (done, conflicts): (Vec<&OrderCommit>, Vec<&OrderCommit>) =
        changes.iter().partition(|c| c.before == c.next.version || won.contains(&c.next.id));
    let changed: Vec<&OrderCommit> = done.iter().copied().filter(|c| c.before != c.next.version).collect();
    write_attempts(tx, &changed).await?;
    write_proof(tx, &changed, at).await?;
    for c in &changed {
        write_action(tx, c, at).await?;
    }
    let mut sent_back = Vec::new();
    for refund in changed.iter().flat_map(|c| &c.refunds) {
        if send_back(tx, refund, at).await? {
            sent_back.push(refund.merchant.to_string());
        }
    }
    write_notifications(tx, done.iter().flat_map(|c| &c.notifications), at).await?;
    for c in &done {
        write_calls(tx, c.next.id, &c.calls).await?;
    }
    Ok((conflicts.into_iter().map(|c| c.next.id).collect(), sent_back))
}

/// Records the refund that a policy makes, or of what is left where others took some of it; tells whether there was
/// none of its number. The order's row is locked by its change.
async fn send_back(tx: &WriteTx, refund: &NewRefund, at: Timestamp) -> Result<bool, DbError> {
    let reserved = match reserve(tx, refund, at).await? {
        Reserved::Exceeds { left } if left > Fen::ZERO => reserve(tx, &refund.of_amount(left), at).await?,
        reserved => reserved,
    };
    Ok(match reserved {
        Reserved::New(_) => true,
        Reserved::Known(_) => false,
        // A refund made in WeChat's merchant platform came first: nothing is left to refund.
        Reserved::Exceeds { .. }
        | Reserved::TooMany
        | Reserved::KeyReused
        | Reserved::Capped { .. }
        | Reserved::Accepted => {
            tracing::warn!(refund_no = %refund.refund_no, "a payment that should go back is refunded already");
            false
        }
    })
}

async fn cas_orders(tx: &WriteTx, changes: &[OrderCommit], at: Timestamp) -> Result<HashSet<i64>, DbError> {
    let changed: Vec<&OrderCommit> = changes.iter().filter(|c| c.before != c.next.version).collect();
    if changed.is_empty() {
        return Ok(HashSet::new());
    }
    if tx.kind() == DbKind::Postgres {
        // The UPDATE below locks in whatever order its plan has; this one locks in the order of the rows.
        let ids = placeholders(1, changed.len(), 0);
        let sql = format!("SELECT id FROM orders WHERE id IN {ids} ORDER BY id FOR UPDATE");
        tx.all(&sql, changed.iter().map(|c| c.next.id.into())).await?;
    }
    let mut won = HashSet::new();
    for changed in changed.chunks(tx.rows_per_statement()) {
        let (sql, values) = update_orders(changed, at)?;
        for row in tx.all(&sql, values).await? {
            won.insert(row.get("id")?);
        }
    }
    Ok(won)
}

fn update_orders(changed: &[&OrderCommit], at: Timestamp) -> Result<(String, Vec<Value>), DbError> {
    let mut values: Vec<Value> = Vec::with_capacity(changed.len() * 23);
    for c in changed {
        let o = &c.next;
        let open = o.state.is_open();
        let next_at = o.queries.next_at.map(Timestamp::as_ms);
        let (intent, trade_type, until) = intent_columns(o.intent);
        values.extend([
            o.id.into(),
            c.before.into(),
            o.version.into(),
            o.state.as_str().into(),
            o.flags.outcome_unknown.into(),
            o.flags.paid_late.into(),
            o.flags.paid_twice.into(),
            o.flags.amount_mismatch.into(),
            o.failure.as_ref().map(|f| f.code.clone()).into(),
            o.failure.as_ref().map(|f| f.message.clone()).into(),
            o.paid_by.as_ref().map(|p| p.transaction_id.to_string()).into(),
            o.paid_by.as_ref().map(|p| p.paid_at.as_ms()).into(),
            at.as_ms().into(),
            i64::from(o.queries.done).into(),
            next_at.filter(|_| open).into(),
            next_at.filter(|_| !open).into(),
            o.expires_at.as_ms().into(),
            o.paid_reported.into(),
            intent.into(),
            trade_type.into(),
            until.into(),
            c.wanted.as_ref().filter(|_| o.intent.is_some()).map(AttemptParams::to_json).transpose()?.into(),
            o.flags.paid_before_order.into(),
        ]);
    }
    let sql = format!(
        "WITH v (id, before, version, state, outcome_unknown, paid_late, paid_twice, amount_mismatch, failure_code,
                 failure_message, transaction_id, paid_at_ms, updated_at_ms, queries_done, next_query_at_ms,
                 next_look_at_ms, expires_at_ms, paid_told, intent, intent_trade_type, intent_expires_at_ms,
                 intent_params, paid_before_order)
           AS (VALUES {})
         UPDATE orders SET version = v.version, state = v.state, outcome_unknown = v.outcome_unknown,
           paid_late = v.paid_late, paid_twice = v.paid_twice, amount_mismatch = v.amount_mismatch,
           failure_code = v.failure_code, failure_message = v.failure_message, transaction_id = v.transaction_id,
           paid_at_ms = v.paid_at_ms, updated_at_ms = v.updated_at_ms, queries_done = v.queries_done,
           next_query_at_ms = v.next_query_at_ms, next_look_at_ms = v.next_look_at_ms,
           expires_at_ms = v.expires_at_ms, paid_told = v.paid_told, intent = v.intent,
           intent_trade_type = v.intent_trade_type, intent_expires_at_ms = v.intent_expires_at_ms,
           intent_params = v.intent_params, paid_before_order = v.paid_before_order
         FROM v WHERE orders.id = v.id AND orders.version = v.before
         RETURNING orders.id AS id",
        placeholders(changed.len(), 23, 0)
    );
    Ok((sql, values))
}

/// The columns of what the business asked for.
fn intent_columns(intent: Option<Intent>) -> (Option<&'static str>, Option<&'static str>, Option<i64>) {
    match intent {
        None => (None, None, None),
        Some(Intent::Close) => (Some("close"), None, None),
        Some(Intent::NewAttempt { trade_type, expires_at }) => {
            (Some("new_attempt"), Some(trade_type.as_str()), Some(expires_at.as_ms()))
        }
    }
}

async fn write_attempts(tx: &WriteTx, changed: &[&OrderCommit]) -> Result<(), DbError> {
    let mut updated: Vec<[Value; 13]> = Vec::new();
    let mut new = Vec::new();
    for c in changed {
        let merchant = c.next.merchant.to_string();
        for (i, a) in c.next.attempts.iter().enumerate() {
            if let Some(params) = i.checked_sub(c.attempts_before).and_then(|n| c.new_params.get(n)) {
                new.push(new_attempt(c.next.id, &merchant, a, params)?);
                continue;
            }
            updated.push([
                merchant.clone().into(),
                a.out_trade_no.to_string().into(),
                a.state.as_str().into(),
                a.prepay.as_ref().map(|p| p.prepay_id.clone()).into(),
                a.prepay.as_ref().and_then(|p| p.code_url.clone()).into(),
                a.prepay.as_ref().and_then(|p| p.mweb_url.clone()).into(),
                a.prepay.as_ref().map(|p| p.issued_at.as_ms()).into(),
                a.transaction_id.as_ref().map(ToString::to_string).into(),
                a.error.as_ref().filter(|_| a.state == AttemptState::Failed).map(|e| e.code.clone()).into(),
                a.error.as_ref().filter(|_| a.state == AttemptState::Failed).map(|e| e.message.clone()).into(),
                said(a)?.into(),
                a.setup_refusals.filter(|_| a.state == AttemptState::Unknown).map(i64::from).into(),
                // It is never sent again; the order's own content says what was asked.
                (c.next.state == OrderState::Paid && a.state == AttemptState::Paid).into(),
            ]);
        }
    }
    for updated in updated.chunks(tx.rows_per_statement()) {
        let sql = format!(
            "WITH v (merchant, out_trade_no, state, prepay_id, code_url, mweb_url, prepay_issued_at_ms, transaction_id,
                     error_code, error_message, said, setup_refusals, is_over) AS (VALUES {})
             UPDATE attempts SET state = v.state, prepay_id = v.prepay_id, code_url = v.code_url,
               mweb_url = v.mweb_url, prepay_issued_at_ms = v.prepay_issued_at_ms,
               transaction_id = v.transaction_id, error_code = v.error_code, error_message = v.error_message,
               said = v.said, setup_refusals = v.setup_refusals,
               params = CASE WHEN v.is_over THEN '{{}}' ELSE attempts.params END
             FROM v WHERE attempts.merchant = v.merchant AND attempts.out_trade_no = v.out_trade_no",
            placeholders(updated.len(), 13, 0)
        );
        tx.execute(&sql, updated.iter().flatten().cloned()).await?;
    }
    tx.insert_all(new, None).await?;
    Ok(())
}

fn new_attempt(
    order_id: i64,
    merchant: &str,
    a: &crate::order::Attempt,
    params: &AttemptParams,
) -> Result<attempt::ActiveModel, DbError> {
    Ok(attempt::ActiveModel {
        id: sea_orm::NotSet,
        order_id: Set(order_id),
        merchant: Set(merchant.to_owned()),
        out_trade_no: Set(a.out_trade_no.to_string()),
        n: Set(i64::from(a.n)),
        trade_type: Set(a.trade_type.as_str().into()),
        mch_id: Set(a.mch_id.to_string()),
        appid: Set(a.appid.to_string()),
        sign_type: Set(params.sign_type.clone()),
        params: Set(params.to_json()?),
        state: Set(a.state.as_str().into()),
        prepay_id: Set(None),
        code_url: Set(None),
        mweb_url: Set(None),
        prepay_issued_at_ms: Set(None),
        transaction_id: Set(None),
        error_code: Set(None),
        error_message: Set(None),
        created_at_ms: Set(a.created_at.as_ms()),
        said: Set(None),
        setup_refusals: Set(None),
    })
}

/// What an operator did, under the order's lock.
async fn write_action(tx: &WriteTx, c: &OrderCommit, at: Timestamp) -> Result<(), DbError> {
    if let Some(reclassed) = &c.reclassed
        && !reclass(tx, &c.next, reclassed, at).await?
    {
        return Err(DbError::Defect("a payment changed its class while its order was locked".into()));
    }
    if let Some(audit) = &c.audit {
        write_audit(tx, audit).await?;
    }
    Ok(())
}

/// What WeChat said against an attempt that it has not refused.
fn said(a: &crate::order::Attempt) -> Result<Option<String>, DbError> {
    let error = a.error.as_ref().filter(|_| a.state != AttemptState::Failed);
    error.map(serde_json::to_string).transpose().map_err(|e| DbError::Defect(e.to_string()))
}

async fn write_proof(tx: &WriteTx, changed: &[&OrderCommit], at: Timestamp) -> Result<(), DbError> {
    let mut proofs = Vec::new();
    let mut entered = Vec::new();
    let mut events = Vec::new();
    for c in changed {
        for (version, e) in &c.evidence {
            let mut proof = evidence_row(c.next.id, *version, e, at)?;
            write_evidence(tx, &mut proof);
            proofs.push(proof);
        }
        for (version, entry) in &c.payments {
            let reported = c.evidence.iter().find(|(of, _)| of == version).map(|(_, e)| source_of(e));
            let evidence = reported.map(|(source, id)| format!("{source}:{id}"));
            entered.push(Entered { merchant: &c.next.merchant, order: Some((&c.next, *version)), entry, evidence });
        }
        events.extend(c.events.iter().map(outbox_row));
    }
    tx.insert_all(proofs, None).await?;
    enter(tx, &entered, at).await?;
    write_events(tx, events).await
}

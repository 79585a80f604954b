//! The only place where an order changes: state, evidence, ledger and outbox in one transaction.
//!
//! A change names the version it was decided on (compare-and-set). A batch of changes shares one transaction and one
//! fsync; an order that was changed concurrently is left out with everything that belongs to it and reported, so that
//! its facts are decided anew. What is decided on may be in memory and not loaded: it is compared in the same way.
//! Nothing here can write an order's state without its evidence, or the evidence without the state.

use std::collections::{HashMap, HashSet};

use super::change::{OrderCommit, cas_orders, write_attempts};
use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OutTradeNo};
use crate::money::Fen;
use crate::refund::RefundEvent;
use crate::secret::Secret;
use crate::store::Store;
use crate::store::approvals::types::ApprovalState;
use crate::store::approvals::write::end;
use crate::store::db::DbError;
use crate::store::evidence::{announcement, evidence_row, outbox_row, source_of};
use crate::store::notifications::write_notifications_later;
use crate::store::order::calls::write_calls;
use crate::store::order::read::orders_of_attempts;
use crate::store::order::rows::StoredOrder;
use crate::store::outbox::write_events;
use crate::store::packed::rows::write_evidence;
use crate::store::payers::Payers;
use crate::store::payment::audit::write_audit;
use crate::store::payment::commit::{Entered, enter, reclass};
use crate::store::queue::finish;
use crate::store::queue::{IntakeStep, advance};
use crate::store::refund::lock::lock_orders;
use crate::store::refund::record::{Reserved, reserve};
use crate::store::refund::rows::NewRefund;
use crate::store::writer::{Reader, WriteTx};
use crate::telemetry::{Announcement, REFUNDS_TOTAL};

/// A decision on orders that are loaded and changed in one write.
pub trait OrderDecision: Send + Sync + 'static {
    /// What the caller gets to know once it is durable.
    type Outcome: Send + 'static;

    /// Whether the orders are locked before they are loaded: what it decides on may change beside the order's version.
    fn locks(&self) -> bool {
        false
    }

    /// Whether no caller waits for it, but a message.
    fn gives_way(&self) -> bool {
        false
    }

    /// The attempts whose orders it needs, in any order.
    fn attempts(&self) -> HashMap<MerchantKey, Vec<OutTradeNo>>;

    /// Orders that are decided on as this process has them in memory, unless they are among those of
    /// [`OrderDecision::attempts`]. One that has changed since, or of which the decision makes no change, counts as
    /// changed concurrently: its facts are to be decided anew on what is stored.
    fn known(&self) -> Vec<StoredOrder> {
        Vec::new()
    }

    /// The move of the cursor that is written with the changes. Orders of `conflicts` are not changed.
    fn intake(&self, _outcome: &Self::Outcome, _conflicts: &HashSet<i64>) -> Result<Option<IntakeStep>, DbError> {
        Ok(None)
    }

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
        let kind = if decision.gives_way() { "order.settle" } else { "order.commit" };
        let write = (decision, at, self.payers().await?.clone());
        let (outcome, Done { conflicts, sent_back, announced }) = self
            .db
            .write(kind, write, |tx, (decision, at, payers)| Box::pin(change(tx, decision, *at, payers)))
            .await?;
        announced.iter().for_each(Announcement::log);
        for merchant in sent_back {
            let outcome = RefundEvent::Requested.as_str();
            metrics::counter!(REFUNDS_TOTAL, "merchant" => merchant, "outcome" => outcome).increment(1);
        }
        self.changed();
        Ok((outcome, conflicts))
    }
}

/// What came of changes.
struct Done {
    /// The orders that changed meanwhile.
    conflicts: HashSet<i64>,
    /// The merchants of the refunds that were recorded.
    sent_back: Vec<String>,
    /// What the log says once this is durable.
    announced: Vec<Announcement>,
}

async fn change<D: OrderDecision>(
    tx: &WriteTx,
    decision: &D,
    at: Timestamp,
    payers: &Payers,
) -> Result<(D::Outcome, Done), DbError> {
    let mut orders = Vec::new();
    for (merchant, numbers) in decision.attempts() {
        if decision.locks() {
            lock_orders(tx, &merchant, &numbers).await?;
        }
        orders.extend(orders_of_attempts(Reader::Write(tx), &merchant, &numbers).await?);
    }
    let known = add_known(&mut orders, decision.known());
    let (mut changes, outcome) = decision.decide(orders);
    // Only a change compares what was decided on with what is stored.
    changes.retain(|change| change.before != change.next.version || !known.contains_key(&change.next.id));
    // In the order of the rows: two processes that lock the same orders then wait for each other without a deadlock.
    changes.sort_by_key(|change| change.next.id);
    let mut done = commit(tx, &changes, &known, (at, payers)).await?;
    let changed: HashSet<i64> = changes.iter().map(|c| c.next.id).filter(|id| !done.conflicts.contains(id)).collect();
    done.conflicts.extend(known.into_keys().filter(|id| !changed.contains(id)));
    if let Some(step) = decision.intake(&outcome, &done.conflicts)? {
        advance(tx, &step).await?;
    }
    Ok((outcome, done))
}

/// Adds the orders in memory to the loaded ones, which are newer. Returns the tokens of those added: an order's token
/// may have been replaced without a change of the order, and no other order has it.
fn add_known(orders: &mut Vec<StoredOrder>, known: Vec<StoredOrder>) -> HashMap<i64, Secret> {
    let loaded: HashSet<i64> = orders.iter().map(|stored| stored.order.id).collect();
    let mut tokens = HashMap::new();
    for stored in known.into_iter().filter(|stored| !loaded.contains(&stored.order.id)) {
        if tokens.insert(stored.order.id, stored.order_token.clone()).is_none() {
            orders.push(stored);
        }
    }
    tokens
}

/// `known` are the tokens of the orders that were not loaded.
async fn commit(
    tx: &WriteTx,
    changes: &[OrderCommit],
    known: &HashMap<i64, Secret>,
    (at, payers): (Timestamp, &Payers),
) -> Result<Done, DbError> {
    let won = cas_orders(tx, changes, known, at).await?;
    let (done, conflicts): (Vec<&OrderCommit>, Vec<&OrderCommit>) =
        changes.iter().partition(|c| c.before == c.next.version || won.contains(&c.next.id));
    let changed: Vec<&OrderCommit> = done.iter().copied().filter(|c| c.before != c.next.version).collect();
    write_attempts(tx, &changed)?;
    write_proof(tx, &changed, at, payers).await?;
    for c in &changed {
        write_action(tx, c, at).await?;
    }
    write_notifications_later(tx, done.iter().flat_map(|c| &c.notifications), at).await?;
    write_calls(tx, done.iter().flat_map(|c| c.calls.iter().map(move |call| (c.next.id, call))))?;
    write_events(tx, changed.iter().flat_map(|c| &c.events).map(outbox_row).collect()).await?;
    let mut sent_back = Vec::new();
    for refund in changed.iter().flat_map(|c| &c.refunds) {
        if send_back(tx, refund, at).await? {
            sent_back.push(refund.merchant.to_string());
        }
    }
    finish(tx, &done.iter().flat_map(|c| &c.finished).collect::<Vec<_>>()).await?;
    let announced = changed.iter().flat_map(|c| &c.events).filter_map(announcement).collect();
    Ok(Done { conflicts: conflicts.into_iter().map(|c| c.next.id).collect(), sent_back, announced })
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
        | Reserved::NeedsApproval
        | Reserved::NotWaiting
        | Reserved::Accepted => {
            tracing::warn!(refund_no = %refund.refund_no, "a payment that should go back is refunded already");
            false
        }
    })
}

/// What an operator did, under the order's lock.
async fn write_action(tx: &WriteTx, c: &OrderCommit, at: Timestamp) -> Result<(), DbError> {
    if let Some(reclassed) = &c.reclassed
        && !reclass(tx, &c.next, reclassed, at).await?
    {
        return Err(DbError::Defect("a payment changed its class while its order was locked".into()));
    }
    if let Some(approved) = &c.approved
        && !end(tx, approved, ApprovalState::Approved).await?
    {
        return Err(DbError::Defect("the request was decided while its order was locked".into()));
    }
    if let Some(audit) = &c.audit {
        write_audit(tx, audit).await?;
    }
    Ok(())
}

async fn write_proof(tx: &WriteTx, changed: &[&OrderCommit], at: Timestamp, payers: &Payers) -> Result<(), DbError> {
    let mut proofs = Vec::new();
    let mut entered = Vec::new();
    for c in changed {
        for (version, e) in &c.evidence {
            let mut proof = evidence_row((c.next.id, *version), e, at, payers)?;
            write_evidence(tx, &mut proof);
            proofs.push(proof);
        }
        for (version, entry) in &c.payments {
            let reported = c.evidence.iter().find(|(of, _)| of == version).map(|(_, e)| source_of(e));
            let evidence = reported.map(|(source, id)| format!("{source}:{id}"));
            entered.push(Entered { merchant: &c.next.merchant, order: Some((&c.next, *version)), entry, evidence });
        }
    }
    tx.insert_later(proofs, None)?;
    enter(tx, &entered, at).await
}

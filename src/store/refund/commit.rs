//! The only place where a refund changes: state, evidence, ledger, totals and outbox in one transaction.
//!
//! A change names the version it was decided on.

use sea_orm::{EntityTrait, Set};

use super::lock::lock_refunds;
use super::rows::{RefundEvidence, evidence_row};
use crate::clock::Timestamp;
use crate::event::domain::EncodedEvent;
use crate::order::CNY;
use crate::refund::{Refund, RefundChange, RefundEntry};
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::entity::{refund_evidence, refund_ledger};
use crate::store::evidence::{NotificationRecord, announcement, outbox_row};
use crate::store::notifications::write_notifications;
use crate::store::outbox::write_events;
use crate::store::packed::rows::write_refund_evidence;
use crate::store::payment::commit::return_whole;
use crate::store::writer::WriteTx;

/// One refund's change.
#[derive(Debug, Clone)]
pub struct RefundCommit {
    /// None where the payment is of no order.
    pub order_id: Option<i64>,
    /// The version that was decided on.
    pub before: i64,
    /// The unanswered call that was decided on: another one, found since, may still be carried out.
    pub unanswered_before: Option<Timestamp>,
    pub change: RefundChange,
    pub evidence: RefundEvidence,
    /// The domain event to emit.
    pub event: Option<EncodedEvent>,
    /// The notification that led here.
    pub notification: Option<NotificationRecord>,
}

impl Store {
    /// Commits a change of a refund. `false`: the compare-and-set failed (concurrent change), and nothing was written.
    pub async fn commit_refund(&self, c: &RefundCommit, at: Timestamp) -> Result<bool, DbError> {
        let write = (c.clone(), at);
        let done = self.db.write("refund.commit", write, |tx, (c, at)| Box::pin(commit(tx, c, *at))).await?;
        if done {
            if let Some(line) = c.event.as_ref().and_then(announcement) {
                line.log();
            }
            self.changed();
        }
        Ok(done)
    }
}

async fn commit(tx: &WriteTx, c: &RefundCommit, at: Timestamp) -> Result<bool, DbError> {
    let next = &c.change.next;
    lock_refunds(tx, c.order_id, &next.merchant, &next.transaction_id).await?;
    if !cas(tx, c, at).await? {
        return Ok(false);
    }
    let mut evidence = evidence_row((next.id, next.version, next.state), &next.refund_no, &c.evidence, at)?;
    write_refund_evidence(tx, &mut evidence);
    tx.run(&refund_evidence::Entity::insert(evidence)).await?;
    if let Some(entry) = &c.change.ledger {
        enter(tx, c, entry, at).await?;
    }
    if c.change.released {
        release(tx, next).await?;
    }
    write_notifications(tx, c.notification.iter(), at).await?;
    write_events(tx, c.event.iter().map(outbox_row).collect()).await?;
    Ok(true)
}

async fn cas(tx: &WriteTx, c: &RefundCommit, at: Timestamp) -> Result<bool, DbError> {
    let r = &c.change.next;
    let sql = "UPDATE refunds SET version = $3, state = $4, refund_id = $5, error_code = $6, error_message = $7,
                 delayed = $8, unanswered_at_ms = $9, queries_done = $10, next_at_ms = $11, succeeded_at_ms = $12,
                 updated_at_ms = $13,
                 accepted_at_ms = CASE WHEN refund_id IS NULL AND CAST($5 AS TEXT) IS NOT NULL
                   THEN COALESCE(accepted_at_ms, unanswered_at_ms, CAST($13 AS BIGINT)) ELSE accepted_at_ms END
               WHERE id = $1 AND version = $2 AND unanswered_at_ms IS NOT DISTINCT FROM $14";
    let ms = |at: Option<Timestamp>| at.map(Timestamp::as_ms);
    let values = [
        r.id.into(),
        c.before.into(),
        r.version.into(),
        r.state.as_str().into(),
        r.refund_id.clone().into(),
        r.error.as_ref().map(|e| e.code.clone()).into(),
        r.error.as_ref().map(|e| e.message.clone()).into(),
        r.delayed.into(),
        ms(r.unanswered_at).into(),
        i64::from(r.queries.done).into(),
        ms(r.queries.next_at).into(),
        ms(r.succeeded_at).into(),
        at.as_ms().into(),
        ms(c.unanswered_before).into(),
    ];
    Ok(tx.execute(sql, values).await? == 1)
}

/// The money went back: ledger, the payment's total, the order's.
async fn enter(tx: &WriteTx, c: &RefundCommit, entry: &RefundEntry, at: Timestamp) -> Result<(), DbError> {
    let r = &c.change.next;
    let row = refund_ledger::ActiveModel {
        id: sea_orm::NotSet,
        merchant: Set(r.merchant.to_string()),
        refund: Set(r.id),
        refund_version: Set(r.version),
        order_id: Set(c.order_id),
        order_no: Set(r.order_no.as_ref().map(ToString::to_string)),
        out_trade_no: Set(r.out_trade_no.to_string()),
        transaction_id: Set(r.transaction_id.to_string()),
        refund_no: Set(r.refund_no.to_string()),
        refund_id: Set(entry.refund_id.clone()),
        amount_fen: Set(entry.amount.as_i64()),
        currency: Set(r.currency.clone()),
        occurred_at_ms: Set(entry.occurred_at.as_ms()),
        recorded_at_ms: Set(at.as_ms()),
    };
    tx.run(&refund_ledger::Entity::insert(row)).await?;
    let sql = "UPDATE refund_totals SET refunded_fen = refunded_fen + $3 WHERE merchant = $1 AND transaction_id = $2";
    let amount = entry.amount.as_i64();
    let values = [r.merchant.as_str().into(), r.transaction_id.as_str().into(), amount.into()];
    tx.execute(sql, values).await?;
    if let Some(order_id) = c.order_id {
        // An order's sum is in its own currency.
        let amount = if r.currency == CNY { amount } else { 0 };
        let sql = "UPDATE orders SET refunded_fen = refunded_fen + $2, updated_at_ms = $3 WHERE id = $1";
        tx.execute(sql, [order_id.into(), amount.into(), at.as_ms().into()]).await?;
    }
    return_whole(tx, r, at).await
}

/// The amount may be refunded otherwise. A refund that WeChat took on counts among the payment's fifty all the same.
async fn release(tx: &WriteTx, r: &Refund) -> Result<(), DbError> {
    let never_taken = i64::from(r.refund_id.is_none());
    let sql = "UPDATE refund_totals SET reserved_fen = reserved_fen - $3, count = count - $4
               WHERE merchant = $1 AND transaction_id = $2";
    let values =
        [r.merchant.as_str().into(), r.transaction_id.as_str().into(), r.amount.as_i64().into(), never_taken.into()];
    tx.execute(sql, values).await?;
    Ok(())
}

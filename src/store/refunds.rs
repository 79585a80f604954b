//! Recording refunds, with the reservation that keeps their sum below what was paid; reading them; and whose turn it is.
//!
//! The order's row is locked first by everything that writes here: reservations of one order stand in line, and nobody
//! locks crosswise. What must stay true: no refund row without its reservation, and none beyond it, whoever asks at the same
//! time.

use std::time::Duration;

use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder};

use super::Store;
use super::db::{Db, DbError, DbKind};
use super::entity::{ledger, refund, refund_evidence};
use super::leases::{Fenced, Lease};
use super::proof::outbox_row;
use super::refund_rows::{NewRefund, StoredRefund, evidence_row, new_row, stored_refund};
use super::rows::broken;
use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OutRefundNo, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::order::{BETWEEN_REFUNDS, MAX_REFUNDS, Refund};

/// What recording a refund did.
#[derive(Debug, Clone)]
pub enum Reserved {
    /// It is recorded and its amount reserved.
    New(Box<StoredRefund>),
    /// The number was recorded before; whether for the same refund, the caller compares.
    Known(Box<StoredRefund>),
    /// Less is left of the payment.
    Exceeds {
        /// What is left.
        left: Fen,
    },
    /// The payment has had as many refunds as WeChat allows.
    TooMany,
}

/// A payment that can be refunded.
#[derive(Debug, Clone)]
pub struct PaidAttempt {
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// How much it was.
    pub paid: Fen,
    /// What is not reserved for refunds.
    pub left: Fen,
}

/// Whether a call may be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Yes, and this is how many there were before it.
    Call {
        /// Earlier calls; one of them may have been executed.
        before: u32,
    },
    /// Another refund of the payment was called for less than a minute ago.
    Wait {
        /// Until then.
        until: Timestamp,
    },
    /// The refund changed since it was read.
    Changed,
}

impl Store {
    /// Records a refund and reserves its amount, or says why not.
    pub async fn record_refund(&self, new: &NewRefund, at: Timestamp) -> Result<Reserved, DbError> {
        let tx = self.db.begin().await?;
        lock_order(&self.db, &tx, new.order_id).await?;
        let reserved = reserve(&self.db, &tx, new, at).await?;
        tx.commit().await?;
        self.changed();
        Ok(reserved)
    }

    /// A refund by its number.
    pub async fn refund(
        &self,
        merchant: &MerchantKey,
        refund_no: &OutRefundNo,
    ) -> Result<Option<StoredRefund>, DbError> {
        find(self.db.read(), merchant, refund_no).await
    }

    /// An order's refunds, oldest first.
    pub async fn refunds_of_order(&self, order_id: i64) -> Result<Vec<StoredRefund>, DbError> {
        let rows = refund::Entity::find()
            .filter(refund::Column::OrderId.eq(order_id))
            .order_by_asc(refund::Column::Id)
            .all(self.db.read())
            .await?;
        rows.into_iter().map(stored_refund).collect()
    }

    /// A payment of an order, with what is left of it; nothing when the order has no such payment.
    pub async fn paid_attempt(
        &self,
        order_id: i64,
        transaction_id: &TransactionId,
    ) -> Result<Option<PaidAttempt>, DbError> {
        let entry = ledger::Entity::find()
            .filter(ledger::Column::OrderId.eq(order_id))
            .filter(ledger::Column::TransactionId.eq(transaction_id.as_str()))
            .one(self.db.read())
            .await?;
        let Some(entry) = entry else { return Ok(None) };
        let left = left(&self.db, self.db.read(), &entry.merchant, transaction_id).await?;
        Ok(Some(PaidAttempt {
            out_trade_no: OutTradeNo::parse(entry.out_trade_no).map_err(broken("out_trade_no"))?,
            transaction_id: transaction_id.clone(),
            paid: Fen::from_i64(entry.amount_fen),
            left: left.map_or(Fen::from_i64(entry.amount_fen), |(left, _)| left),
        }))
    }

    /// Takes the turn to call WeChat for a refund: a minute must lie between the calls of two refunds of one payment, while
    /// the same refund may be called for again at any time. The call counts as made.
    pub async fn take_turn(&self, stored: &StoredRefund, now: Timestamp) -> Result<Turn, DbError> {
        let refund = &stored.refund;
        let tx = self.db.begin().await?;
        lock_order(&self.db, &tx, stored.order_id).await?;
        let sql = "UPDATE refund_totals SET next_call_at_ms = $4, last_called = $3
                   WHERE merchant = $1 AND transaction_id = $2 AND (next_call_at_ms <= $5 OR last_called = $3)";
        let values = [
            refund.merchant.as_str().into(),
            refund.transaction_id.as_str().into(),
            refund.refund_no.as_str().into(),
            now.after(BETWEEN_REFUNDS).as_ms().into(),
            now.as_ms().into(),
        ];
        if tx.execute_raw(self.db.statement(sql, values)).await?.rows_affected() == 0 {
            let sql = "SELECT next_call_at_ms FROM refund_totals WHERE merchant = $1 AND transaction_id = $2";
            let values = [refund.merchant.as_str().into(), refund.transaction_id.as_str().into()];
            let row = tx.query_one_raw(self.db.statement(sql, values)).await?;
            let row = row.ok_or_else(|| DbError::Defect("a refund without its total".into()))?;
            return Ok(Turn::Wait { until: Timestamp::from_ms(row.try_get("", "next_call_at_ms")?) });
        }
        let sql = "UPDATE refunds SET calls = calls + 1 WHERE id = $1 AND version = $2 RETURNING calls";
        let row = tx.query_one_raw(self.db.statement(sql, [refund.id.into(), refund.version.into()])).await?;
        let Some(row) = row else { return Ok(Turn::Changed) };
        let calls: i64 = row.try_get("", "calls")?;
        tx.commit().await?;
        Ok(Turn::Call { before: u32::try_from(calls.saturating_sub(1)).unwrap_or(u32::MAX) })
    }

    /// A call for a refund was answered: the minute counts from now, because WeChat may have executed it as late as this. After
    /// one that was too often, the refund itself has to wait, too.
    pub async fn end_turn(&self, refund: &Refund, too_often: bool, now: Timestamp) -> Result<(), DbError> {
        let sql =
            "UPDATE refund_totals SET next_call_at_ms = $4, last_called = CASE WHEN $5 THEN NULL ELSE last_called END
                   WHERE merchant = $1 AND transaction_id = $2 AND (last_called = $3 OR $5)";
        let values = [
            refund.merchant.as_str().into(),
            refund.transaction_id.as_str().into(),
            refund.refund_no.as_str().into(),
            now.after(BETWEEN_REFUNDS).as_ms().into(),
            too_often.into(),
        ];
        self.db.write().execute_raw(self.db.statement(sql, values)).await?;
        Ok(())
    }

    /// Sets when a refund is looked at next. Not a change of the refund; a newer version knows better.
    pub async fn schedule_refund(
        &self,
        refund_id: i64,
        version: i64,
        done: u32,
        next: Timestamp,
    ) -> Result<(), DbError> {
        let sql = "UPDATE refunds SET queries_done = $3, next_at_ms = $4
                   WHERE id = $1 AND version = $2 AND next_at_ms IS NOT NULL";
        let values = [refund_id.into(), version.into(), i64::from(done).into(), next.as_ms().into()];
        self.db.write().execute_raw(self.db.statement(sql, values)).await?;
        self.changed();
        Ok(())
    }

    /// Takes up to `limit` refunds whose time has come and puts them off by `put_off`, so that no other process takes them
    /// meanwhile and one that is lost comes again. Nothing is taken when the lease is lost.
    pub async fn take_due_refunds(
        &self,
        lease: &Lease,
        now: Timestamp,
        put_off: Duration,
        limit: u32,
    ) -> Result<Fenced<Vec<(MerchantKey, OutRefundNo)>>, DbError> {
        // Mostly nothing is due, which is found without a writer.
        let sql = "SELECT 1 AS due FROM refunds WHERE next_at_ms <= $1 LIMIT 1";
        if self.db.read().query_one_raw(self.db.statement(sql, [now.as_ms().into()])).await?.is_none() {
            return Ok(Fenced::Done(Vec::new()));
        }
        let tx = self.db.begin().await?;
        if !self.holds(&tx, lease).await? {
            return Ok(Fenced::Lost);
        }
        let skip = match self.db.kind() {
            DbKind::Sqlite => "",
            DbKind::Postgres => " FOR UPDATE SKIP LOCKED",
        };
        let sql = format!(
            "UPDATE refunds SET next_at_ms = $2 WHERE id IN (
               SELECT id FROM refunds WHERE next_at_ms <= $1 ORDER BY next_at_ms LIMIT $3{skip})
             RETURNING merchant, refund_no"
        );
        let values = [now.as_ms().into(), now.after(put_off).as_ms().into(), i64::from(limit).into()];
        let rows = tx.query_all_raw(self.db.statement(sql, values)).await?;
        tx.commit().await?;
        let number = |row: sea_orm::QueryResult| {
            let (merchant, refund_no): (String, String) = (row.try_get("", "merchant")?, row.try_get("", "refund_no")?);
            Ok((
                MerchantKey::parse(merchant).map_err(broken("merchant"))?,
                OutRefundNo::parse(refund_no).map_err(broken("refund_no"))?,
            ))
        };
        rows.into_iter().map(number).collect::<Result<_, _>>().map(Fenced::Done)
    }

    /// How many refunds have not come to their end, by state.
    pub async fn open_refunds(&self) -> Result<Vec<(String, i64)>, DbError> {
        let sql = "SELECT state, COUNT(*) AS n FROM refunds WHERE next_at_ms IS NOT NULL GROUP BY state";
        let rows = self.db.read().query_all_raw(self.db.statement(sql, [])).await?;
        rows.into_iter().map(|r| Ok((r.try_get("", "state")?, r.try_get("", "n")?))).collect()
    }
}

/// Locks the order's row; SQLite has one writer anyway.
pub(super) async fn lock_order(db: &Db, tx: &DatabaseTransaction, order_id: i64) -> Result<(), DbError> {
    if db.kind() == DbKind::Postgres {
        let sql = "SELECT id FROM orders WHERE id = $1 FOR UPDATE";
        tx.query_one_raw(db.statement(sql, [order_id.into()])).await?;
    }
    Ok(())
}

/// Reserves and records under the order's lock.
pub(super) async fn reserve(
    db: &Db,
    tx: &DatabaseTransaction,
    new: &NewRefund,
    at: Timestamp,
) -> Result<Reserved, DbError> {
    if let Some(known) = find(tx, &new.merchant, &new.refund_no).await? {
        return Ok(Reserved::Known(Box::new(known)));
    }
    let (merchant, transaction) = (new.merchant.as_str(), new.transaction_id.as_str());
    let sql = "INSERT INTO refund_totals (merchant, transaction_id, out_trade_no, order_id, paid_fen, reserved_fen,
                                          refunded_fen, count, next_call_at_ms)
               VALUES ($1, $2, $3, $4, $5, 0, 0, 0, 0) ON CONFLICT DO NOTHING";
    let values = [
        merchant.into(),
        transaction.into(),
        new.out_trade_no.as_str().into(),
        new.order_id.into(),
        new.total.as_i64().into(),
    ];
    tx.execute_raw(db.statement(sql, values)).await?;
    let sql = "UPDATE refund_totals SET reserved_fen = reserved_fen + $3, count = count + 1
               WHERE merchant = $1 AND transaction_id = $2 AND reserved_fen + $3 <= paid_fen AND count < $4";
    let most = i64::from(MAX_REFUNDS);
    let values = [merchant.into(), transaction.into(), new.amount.as_i64().into(), most.into()];
    if tx.execute_raw(db.statement(sql, values)).await?.rows_affected() == 0 {
        let (left, count) = left(db, tx, merchant, &new.transaction_id).await?.unwrap_or_default();
        // Whoever asks for too much hears how much there is, also when there could be no further refund.
        let full = count >= most && new.amount <= left;
        return Ok(if full { Reserved::TooMany } else { Reserved::Exceeds { left } });
    }
    let row = refund::Entity::insert(new_row(new)?).exec_with_returning(tx).await?;
    if let Some((_, evidence)) = &new.known {
        let evidence = evidence_row(row.id, row.version, &new.refund_no, evidence, at)?;
        refund_evidence::Entity::insert(evidence).exec_without_returning(tx).await?;
    }
    super::commit::write_events(tx, vec![outbox_row(&new.event)]).await?;
    Ok(Reserved::New(Box::new(stored_refund(row)?)))
}

async fn find(
    db: &impl ConnectionTrait,
    merchant: &MerchantKey,
    refund_no: &OutRefundNo,
) -> Result<Option<StoredRefund>, DbError> {
    let row = refund::Entity::find()
        .filter(refund::Column::Merchant.eq(merchant.as_str()))
        .filter(refund::Column::RefundNo.eq(refund_no.as_str()))
        .one(db)
        .await?;
    row.map(stored_refund).transpose()
}

/// What is left of a payment, and how many refunds it has; nothing before its first.
async fn left(
    db: &Db,
    on: &impl ConnectionTrait,
    merchant: &str,
    transaction_id: &TransactionId,
) -> Result<Option<(Fen, i64)>, DbError> {
    let sql = "SELECT paid_fen - reserved_fen AS left_fen, count FROM refund_totals
               WHERE merchant = $1 AND transaction_id = $2";
    let row = on.query_one_raw(db.statement(sql, [merchant.into(), transaction_id.as_str().into()])).await?;
    row.map(|r| Ok((Fen::from_i64(r.try_get("", "left_fen")?), r.try_get("", "count")?))).transpose()
}

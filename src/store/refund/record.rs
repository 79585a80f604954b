//! Records refunds, with the reservation that keeps their sum within what was paid; reads them; schedules their polls.
//!
//! What must stay true: no refund row without its reservation, and none beyond it, under any concurrency; see
//! [`super::lock`].

use std::time::Duration;

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::cap::{count, needs_approval};
use super::claim::{Claimed, claim_key, take_back};
use super::lock::lock_refunds;
use super::rows::{NewRefund, StoredRefund, evidence_row, new_row, stored_refund};
use crate::clock::Timestamp;
use crate::ids::{AppId, MchId, MerchantKey, OrderNo, OutRefundNo, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::order::PaymentClass;
use crate::refund::{MAX_REFUNDS, RefundOrigin, RefundState};
use crate::store::Store;
use crate::store::approvals::types::ApprovalState;
use crate::store::approvals::write::{end, waits};
use crate::store::db::{Db, DbError, DbKind};
use crate::store::entity::{payment, refund, refund_evidence};
use crate::store::evidence::outbox_row;
use crate::store::leases::{Fenced, Lease, holds};
use crate::store::order::rows::{broken, id_of, readable, unknown};
use crate::store::outbox::write_events;
use crate::store::packed::rows::write_refund_evidence;
use crate::store::payment::audit::write_audit;
use crate::store::writer::{Row, WriteTx};

/// What recording a refund did.
#[derive(Debug, Clone)]
pub enum Reserved {
    /// It is recorded and its amount reserved.
    New(Box<StoredRefund>),
    /// The number was recorded before; whether for the same refund, the caller compares.
    Known(Box<StoredRefund>),
    /// Less is left of the payment.
    Exceeds { left: Fen },
    /// The payment has had as many refunds as WeChat allows.
    TooMany,
    /// The caller's name for the request is another request's.
    KeyReused,
    /// The client has asked for nearly as much today as it may.
    Capped { left: Fen },
    /// The payment is not held any more: it was accepted meanwhile. Of a payment of no order: its order appeared.
    Accepted,
    /// It takes a second person: nothing was recorded.
    NeedsApproval,
    /// It was approved, and its request waits no more.
    NotWaiting,
}

/// A payment that can be refunded.
#[derive(Debug, Clone)]
pub struct PaidAttempt {
    /// None where it is of no order.
    pub order_id: Option<i64>,
    pub order_no: Option<OrderNo>,
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// The merchant number that received it.
    pub mch_id: MchId,
    /// The app it went through.
    pub appid: AppId,
    /// What it is to us.
    pub class: PaymentClass,
    /// How much it was.
    pub paid: Fen,
    /// WeChat's `fee_type`.
    pub currency: String,
    /// What is not reserved for refunds.
    pub left: Fen,
}

impl Store {
    /// Records a refund and reserves its amount, or says why not.
    pub async fn record_refund(&self, new: &NewRefund, at: Timestamp) -> Result<Reserved, DbError> {
        let reserved = self
            .db
            .write("refund.record", (new.clone(), at), |tx, (new, at)| {
                Box::pin(async move {
                    lock_refunds(tx, new.order_id, &new.merchant, &new.transaction_id).await?;
                    reserve(tx, new, *at).await
                })
            })
            .await?;
        self.changed();
        Ok(reserved)
    }

    /// A refund by its number.
    pub async fn refund(
        &self,
        merchant: &MerchantKey,
        refund_no: &OutRefundNo,
    ) -> Result<Option<StoredRefund>, DbError> {
        let found = by_number(merchant, refund_no).one(self.db.read()).await?.map(stored_refund).transpose()?;
        Ok(self.with_elsewhere(found.into_iter().collect()).await?.pop())
    }

    /// An order's refunds, oldest first.
    pub async fn refunds_of_order(&self, order_id: i64) -> Result<Vec<StoredRefund>, DbError> {
        let rows = refund::Entity::find()
            .filter(refund::Column::OrderId.eq(order_id))
            .order_by_asc(refund::Column::Id)
            .all(self.db.read())
            .await?;
        self.with_elsewhere(rows.into_iter().map(stored_refund).collect::<Result<_, _>>()?).await
    }

    /// Up to `limit` refunds, newest first: of these merchants, in this state, older than this row.
    pub async fn refunds(
        &self,
        merchants: Option<&[MerchantKey]>,
        state: Option<RefundState>,
        before_id: Option<i64>,
        limit: u64,
    ) -> Result<Vec<StoredRefund>, DbError> {
        let of = |keys: &[MerchantKey]| refund::Column::Merchant.is_in(keys.iter().map(MerchantKey::as_str));
        let only = Condition::all()
            .add_option(merchants.map(of))
            .add_option(state.map(|state| refund::Column::State.eq(state.as_str())))
            .add_option(before_id.map(|id| refund::Column::Id.lt(id)));
        let rows = refund::Entity::find()
            .filter(only)
            .order_by_desc(refund::Column::Id)
            .limit(limit)
            .all(self.db.read())
            .await?;
        self.with_elsewhere(rows.into_iter().map(stored_refund).collect::<Result<_, _>>()?).await
    }

    /// A payment with what is left of it.
    pub async fn paid_attempt(
        &self,
        merchant: &MerchantKey,
        transaction_id: &TransactionId,
    ) -> Result<Option<PaidAttempt>, DbError> {
        let payment = payment::Entity::find()
            .filter(payment::Column::Merchant.eq(merchant.as_str()))
            .filter(payment::Column::TransactionId.eq(transaction_id.as_str()))
            .one(self.db.read())
            .await?;
        let Some(entry) = payment else { return Ok(None) };
        let left = left(&self.db, self.db.read(), &entry.merchant, transaction_id).await?;
        Ok(Some(PaidAttempt {
            order_id: entry.order_id,
            order_no: entry.order_no.map(OrderNo::parse).transpose().map_err(broken("order_no"))?,
            out_trade_no: OutTradeNo::parse(entry.out_trade_no).map_err(broken("out_trade_no"))?,
            transaction_id: transaction_id.clone(),
            mch_id: MchId::parse(entry.mch_id).map_err(broken("mch_id"))?,
            appid: AppId::parse(entry.appid).map_err(broken("appid"))?,
            class: PaymentClass::parse(&entry.class).ok_or_else(|| unknown("class", &entry.class))?,
            paid: Fen::from_i64(entry.amount_fen),
            currency: entry.currency,
            left: left.map_or(Fen::from_i64(entry.amount_fen), |(left, _)| left),
        }))
    }

    /// Sets when a refund is polled next. Not a change of the refund; a newer version has set its own poll time.
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
        self.db.execute("refund.schedule", sql, values).await?;
        self.changed();
        Ok(())
    }

    /// Polls a refund at `at` at the latest. No effect on one in a terminal state.
    pub async fn poll_by(&self, refund_id: i64, at: Timestamp) -> Result<(), DbError> {
        let sql = "UPDATE refunds SET next_at_ms = $2 WHERE id = $1 AND next_at_ms > $2";
        self.db.execute("refund.poll_by", sql, [refund_id.into(), at.as_ms().into()]).await?;
        self.changed();
        Ok(())
    }

    /// Notes that WeChat answered an out-of-schedule query about a refund without a change: waiters are notified, and
    /// the poll schedule is unchanged.
    pub async fn refund_answered(&self, refund_id: i64, at: Timestamp) -> Result<(), DbError> {
        let sql = "UPDATE refunds SET answered_at_ms = $2 WHERE id = $1";
        self.db.execute("refund.answered", sql, [refund_id.into(), at.as_ms().into()]).await?;
        self.changed();
        Ok(())
    }

    /// Notes that WeChat contradicts a refund. `true`: this contradiction has not been reported yet.
    pub async fn note_contradiction(&self, refund_id: i64, reason: &str) -> Result<bool, DbError> {
        let sql = "UPDATE refunds SET contradiction = $2
                   WHERE id = $1 AND (contradiction IS NULL OR contradiction <> $2)";
        Ok(self.db.execute("refund.contradiction", sql, [refund_id.into(), reason.into()]).await? == 1)
    }

    /// Whether a refund is due.
    pub async fn has_due_refund(&self, now: Timestamp) -> Result<bool, DbError> {
        Ok(self.db.read().query_one_raw(self.db.statement(HAS_DUE, [now.as_ms().into()])).await?.is_some())
    }

    /// Takes up to `limit` refunds whose time has come and puts them off by `put_off`, so that no other process takes
    /// them meanwhile and one that is lost comes again. Nothing is taken when the lease is lost.
    pub async fn take_due_refunds(
        &self,
        lease: &Lease,
        now: Timestamp,
        put_off: Duration,
        limit: u32,
    ) -> Result<Fenced<Vec<(MerchantKey, OutRefundNo)>>, DbError> {
        // Mostly nothing is due, which is found without a writer.
        if !self.has_due_refund(now).await? {
            return Ok(Fenced::Done(Vec::new()));
        }
        let write = (lease.clone(), now, now.after(put_off), limit);
        self.db
            .write("refund.take_due", write, |tx, (lease, now, put_off, limit)| {
                Box::pin(take_due(tx, lease, *now, *put_off, *limit))
            })
            .await
    }

    /// How many refunds have not come to their end, by state.
    pub async fn open_refunds(&self) -> Result<Vec<(String, i64)>, DbError> {
        let sql = "SELECT state, COUNT(*) AS n FROM refunds WHERE next_at_ms IS NOT NULL GROUP BY state";
        let rows = self.db.read().query_all_raw(self.db.statement(sql, [])).await?;
        rows.into_iter().map(|r| Ok((r.try_get("", "state")?, r.try_get("", "n")?))).collect()
    }
}

/// Reserves and records under the lock.
pub(in crate::store) async fn reserve(tx: &WriteTx, new: &NewRefund, at: Timestamp) -> Result<Reserved, DbError> {
    if let Some(known) = tx.find_one(by_number(&new.merchant, &new.refund_no)).await? {
        return Ok(Reserved::Known(Box::new(stored_refund(known)?)));
    }
    if let Some(refused) = refused(tx, new).await? {
        return Ok(refused);
    }
    let claimed = claim_key(tx, new).await?;
    if claimed == Claimed::ForAnother {
        return Ok(Reserved::KeyReused);
    }
    let reserved = reserve_unclaimed(tx, new, at).await?;
    // A request that came to nothing is not what the key names: the corrected one may have it.
    if claimed == Claimed::New && !matches!(reserved, Reserved::New(_)) {
        take_back(tx, new).await?;
    }
    Ok(reserved)
}

/// Reserves and records what nothing speaks against but the amount.
async fn reserve_unclaimed(tx: &WriteTx, new: &NewRefund, at: Timestamp) -> Result<Reserved, DbError> {
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
    tx.execute(sql, values).await?;
    let sql = "UPDATE refund_totals SET reserved_fen = reserved_fen + $3, count = count + 1
               WHERE merchant = $1 AND transaction_id = $2 AND reserved_fen + $3 <= paid_fen AND count < $4";
    let most = i64::from(MAX_REFUNDS);
    let values = [merchant.into(), transaction.into(), new.amount.as_i64().into(), most.into()];
    if tx.execute(sql, values).await? == 0 {
        let row = tx.one(LEFT, [merchant.into(), transaction.into()]).await?;
        let left = row.as_ref().map_or(Ok(0), |row| row.get("left_fen")).map(Fen::from_i64)?;
        let count: i64 = row.as_ref().map_or(Ok(0), |row| row.get("count"))?;
        // A request for too much is answered with the remaining amount, even when no further refund is possible.
        let full = count >= most && new.amount <= left;
        return Ok(if full { Reserved::TooMany } else { Reserved::Exceeds { left } });
    }
    if let Some(cap) = &new.cap
        && let Err(left) = count(tx, cap, new.amount).await?
    {
        let sql = "UPDATE refund_totals SET reserved_fen = reserved_fen - $3, count = count - 1
                   WHERE merchant = $1 AND transaction_id = $2";
        tx.execute(sql, [merchant.into(), transaction.into(), new.amount.as_i64().into()]).await?;
        return Ok(Reserved::Capped { left });
    }
    let row = {
        tx.run(&refund::Entity::insert(new_row(new)?)).await?;
        let row = tx.find_one(by_number(&new.merchant, &new.refund_no)).await?;
        row.ok_or_else(|| DbError::Defect("a refund that is gone in its own transaction".into()))?
    };
    if let Some((_, evidence)) = &new.known {
        let mut evidence = evidence_row((row.id, row.version, RefundState::Processing), &new.refund_no, evidence, at)?;
        write_refund_evidence(tx, &mut evidence);
        tx.run(&refund_evidence::Entity::insert(evidence)).await?;
    }
    if let Some(approved) = &new.approved
        && !end(tx, approved, ApprovalState::Approved).await?
    {
        return Err(DbError::Defect("the request was decided while it was locked".into()));
    }
    for audit in new.gives_back.iter().chain(&new.audit) {
        write_audit(tx, audit).await?;
    }
    write_events(tx, vec![outbox_row(&new.event())]).await?;
    Ok(Reserved::New(Box::new(stored_refund(row)?)))
}

/// What keeps it from being recorded, before anything is reserved.
async fn refused(tx: &WriteTx, new: &NewRefund) -> Result<Option<Reserved>, DbError> {
    let (merchant, transaction) = (new.merchant.as_str(), new.transaction_id.as_str());
    if new.gives_back.is_some() {
        let sql = "SELECT 1 AS held FROM payments WHERE merchant = $1 AND transaction_id = $2 AND class <> 'credited'";
        if tx.one(sql, [merchant.into(), transaction.into()]).await?.is_none() {
            return Ok(Some(Reserved::Accepted));
        }
    }
    if new.order_id.is_none() {
        let sql = "SELECT 1 AS matched FROM payments
                   WHERE merchant = $1 AND transaction_id = $2 AND order_id IS NOT NULL";
        if tx.one(sql, [merchant.into(), transaction.into()]).await?.is_some() {
            return Ok(Some(Reserved::Accepted));
        }
    }
    if let Some(approved) = &new.approved {
        if !waits(tx, approved).await? {
            return Ok(Some(Reserved::NotWaiting));
        }
    } else if new.origin == RefundOrigin::Api && needs_approval(tx, new.alone(), new.created_at).await? {
        return Ok(Some(Reserved::NeedsApproval));
    }
    Ok(None)
}

fn by_number(merchant: &MerchantKey, refund_no: &OutRefundNo) -> sea_orm::Select<refund::Entity> {
    refund::Entity::find()
        .filter(refund::Column::Merchant.eq(merchant.as_str()))
        .filter(refund::Column::RefundNo.eq(refund_no.as_str()))
}

/// What is left of a payment, and how many refunds it has.
const LEFT: &str = "SELECT paid_fen - reserved_fen AS left_fen, count FROM refund_totals
                    WHERE merchant = $1 AND transaction_id = $2";

/// What is left of a payment, and how many refunds it has; nothing before its first.
async fn left(
    db: &Db,
    on: &impl ConnectionTrait,
    merchant: &str,
    transaction_id: &TransactionId,
) -> Result<Option<(Fen, i64)>, DbError> {
    let row = on.query_one_raw(db.statement(LEFT, [merchant.into(), transaction_id.as_str().into()])).await?;
    row.map(|r| Ok((Fen::from_i64(r.try_get("", "left_fen")?), r.try_get("", "count")?))).transpose()
}

async fn take_due(
    tx: &WriteTx,
    lease: &Lease,
    now: Timestamp,
    put_off: Timestamp,
    limit: u32,
) -> Result<Fenced<Vec<(MerchantKey, OutRefundNo)>>, DbError> {
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    let sql = take_sql(tx.kind());
    let values = [now.as_ms().into(), put_off.as_ms().into(), i64::from(limit).into()];
    let rows = tx.all(&sql, values).await?;
    let number = |row: &Row| {
        let (merchant, refund_no): (String, String) = (row.get("merchant")?, row.get("refund_no")?);
        Ok((
            MerchantKey::parse(merchant).map_err(broken("merchant"))?,
            OutRefundNo::parse(refund_no).map_err(broken("refund_no"))?,
        ))
    };
    // One that cannot be read is put off like the others.
    Ok(Fenced::Done(readable("refund", &rows, u64::from(limit), id_of, number)))
}

/// Whether a refund is due.
pub(in crate::store) const HAS_DUE: &str =
    "SELECT 1 AS due FROM refunds WHERE next_at_ms <= $1 ORDER BY next_at_ms LIMIT 1";

pub(in crate::store) fn take_sql(kind: DbKind) -> String {
    let skip = kind.skip_locked();
    format!(
        "UPDATE refunds SET next_at_ms = $2 WHERE id IN (
               SELECT id FROM refunds WHERE next_at_ms <= $1 ORDER BY next_at_ms LIMIT $3{skip})
             RETURNING id, merchant, refund_no"
    )
}

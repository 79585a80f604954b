//! Orders about which WeChat must be asked.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OrderNo};
use crate::order::Queries;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::leases::{Fenced, Lease, holds};
use crate::store::order::rows::{broken, id_of, readable};
use crate::store::writer::{Row, WriteTx};

/// When an order's question is due: at most one of [`DUE_COLUMNS`] is set. The index `orders_due` is over this very
/// expression, so that it has the rows that any version writes.
pub(in crate::store) const DUE: &str = "COALESCE(next_query_at_ms, next_look_at_ms)";
pub(in crate::store) const DUE_COLUMNS: &[&str] = &["next_query_at_ms", "next_look_at_ms"];

impl Store {
    /// Whether a merchant has an order whose question is due.
    pub async fn has_due_query(&self, merchant: &MerchantKey, now: Timestamp) -> Result<bool, DbError> {
        let values = [merchant.as_str().into(), now.as_ms().into()];
        Ok(self.db.read().query_one_raw(self.db.statement(has_due_sql(), values)).await?.is_some())
    }

    /// The merchants that have an order whose poll is due.
    pub async fn merchants_to_ask_about(&self, now: Timestamp) -> Result<Vec<MerchantKey>, DbError> {
        let rows = self.db.reader().rows(&merchants_sql(), [now.as_ms().into()]).await?;
        let merchant = |row: &Row| row.get::<String>("merchant");
        let key = |row: &Row| MerchantKey::parse(merchant(row)?).map_err(broken("merchant"));
        Ok(readable("merchant of an order", &rows, u64::MAX, merchant, key))
    }

    /// Takes up to `limit` of a merchant's orders whose question is due and puts the next one off by `put_off`, so that
    /// no other process asks meanwhile and a question that is lost comes again. Nothing is taken when the lease is
    /// lost.
    pub async fn take_due_queries(
        &self,
        lease: &Lease,
        merchant: &MerchantKey,
        now: Timestamp,
        put_off: Duration,
        limit: u32,
    ) -> Result<Fenced<Vec<OrderNo>>, DbError> {
        let write = (lease.clone(), merchant.clone(), now, now.after(put_off), limit);
        self.db
            .write("order.take_due", write, |tx, (lease, merchant, now, put_off, limit)| {
                Box::pin(take_due(tx, lease, merchant, *now, *put_off, *limit))
            })
            .await
    }

    /// Sets when an order is polled next, if ever. Not a change of the order: nothing about the money moved, so its
    /// version stays. `version` is the one that was polled: a newer version has set its own poll time. `due` is when
    /// the next poll was due as the order was read: an earlier one that was requested since then
    /// ([`Store::poll_order_by`]) stays.
    pub async fn schedule_query(
        &self,
        order_id: i64,
        version: i64,
        due: Option<Timestamp>,
        queries: Queries,
    ) -> Result<(), DbError> {
        let next = format!(
            "CASE WHEN {DUE} <> COALESCE($6, -1) AND {DUE} < COALESCE($4, {}) THEN {DUE} ELSE $4 END",
            i64::MAX
        );
        let sql = format!(
            "UPDATE orders SET queries_done = $3,
               next_query_at_ms = CASE WHEN state IN ('requested', 'payable') THEN {next} END,
               next_look_at_ms = CASE WHEN state IN ('requested', 'payable') THEN NULL ELSE {next} END,
               answered_at_ms = COALESCE($5, answered_at_ms)
             WHERE id = $1 AND version = $2"
        );
        let at = |time: Option<Timestamp>| time.map(Timestamp::as_ms);
        let values = [
            order_id.into(),
            version.into(),
            i64::from(queries.done).into(),
            at(queries.next_at).into(),
            at(queries.answered_at).into(),
            at(due).into(),
        ];
        self.db.execute("order.schedule", sql, values).await?;
        Ok(())
    }

    /// Notes that WeChat answered an out-of-schedule query; the order's own poll schedule is unchanged. The noted time
    /// is always a later one: callers wait for it to change.
    pub async fn query_answered(&self, order_id: i64, at: Timestamp) -> Result<(), DbError> {
        let sql = "UPDATE orders SET answered_at_ms =
                     CASE WHEN answered_at_ms >= $2 THEN answered_at_ms + 1 ELSE $2 END
                   WHERE id = $1";
        self.db.execute("order.answered", sql, [order_id.into(), at.as_ms().into()]).await?;
        self.changed();
        Ok(())
    }
}

async fn take_due(
    tx: &WriteTx,
    lease: &Lease,
    merchant: &MerchantKey,
    now: Timestamp,
    put_off: Timestamp,
    limit: u32,
) -> Result<Fenced<Vec<OrderNo>>, DbError> {
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    let sql = take_sql(tx.kind());
    let values = [merchant.as_str().into(), now.as_ms().into(), put_off.as_ms().into(), i64::from(limit).into()];
    let rows = tx.all(&sql, values).await?;
    let number = |row: &Row| OrderNo::parse(row.get::<String>("order_no")?).map_err(broken("order_no"));
    // One that cannot be read is put off like the others.
    Ok(Fenced::Done(readable("order", &rows, u64::from(limit), id_of, number)))
}

pub(in crate::store) fn has_due_sql() -> String {
    format!("SELECT 1 AS due FROM orders WHERE merchant = $1 AND {DUE} <= $2 ORDER BY {DUE} LIMIT 1")
}

pub(in crate::store) fn take_sql(kind: DbKind) -> String {
    let skip = kind.skip_locked();
    format!(
        "UPDATE orders SET next_query_at_ms = CASE WHEN next_query_at_ms IS NOT NULL THEN $3 END,
                           next_look_at_ms = CASE WHEN next_look_at_ms IS NOT NULL THEN $3 END
         WHERE id IN (SELECT id FROM orders WHERE merchant = $1 AND {DUE} <= $2 ORDER BY {DUE} LIMIT $4{skip})
         RETURNING id, order_no"
    )
}

pub(in crate::store) fn merchants_sql() -> String {
    merchants_with(&format!("{DUE} <= $1"))
}

/// The merchants with a pending order of which `condition` holds: for what is a range of the times, one step in the
/// index per merchant, however many orders are due.
pub(in crate::store) fn merchants_with(condition: &str) -> String {
    format!(
        "WITH RECURSIVE found (merchant) AS (
           SELECT MIN(merchant) FROM orders WHERE {DUE} IS NOT NULL
           UNION ALL
           SELECT (SELECT MIN(merchant) FROM orders WHERE merchant > found.merchant AND {DUE} IS NOT NULL)
           FROM found WHERE found.merchant IS NOT NULL)
         SELECT merchant FROM found
         WHERE (SELECT 1 FROM orders WHERE orders.merchant = found.merchant AND {condition}
                ORDER BY {DUE} LIMIT 1) IS NOT NULL"
    )
}

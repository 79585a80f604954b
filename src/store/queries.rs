//! Orders about which WeChat must be asked.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use super::Store;
use super::db::{DbError, DbKind};
use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OrderNo};

impl Store {
    /// Takes up to `limit` orders whose question is due and puts the next one off by `lease`, so that no other process asks
    /// meanwhile and a question that is lost comes again.
    pub async fn take_due_queries(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: u64,
    ) -> Result<Vec<(MerchantKey, OrderNo)>, DbError> {
        let skip = match self.db.kind() {
            DbKind::Sqlite => "",
            DbKind::Postgres => " FOR UPDATE SKIP LOCKED",
        };
        let sql = format!(
            "UPDATE orders SET next_query_at_ms = CASE WHEN next_query_at_ms IS NOT NULL THEN $2 END,
                               next_look_at_ms = CASE WHEN next_look_at_ms IS NOT NULL THEN $2 END
             WHERE id IN (
               SELECT id FROM orders WHERE next_query_at_ms <= $1 OR next_look_at_ms <= $1
               ORDER BY COALESCE(next_query_at_ms, next_look_at_ms) LIMIT $3{skip})
             RETURNING merchant, order_no"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = [now.as_ms().into(), now.after(lease).as_ms().into(), limit.into()];
        let rows = self.db.write().query_all_raw(self.db.statement(sql, values)).await?;
        let broken = |e: crate::ids::IdError| DbError::Defect(e.to_string());
        rows.into_iter()
            .map(|r| {
                let merchant: String = r.try_get("", "merchant")?;
                let order_no: String = r.try_get("", "order_no")?;
                Ok((MerchantKey::parse(merchant).map_err(broken)?, OrderNo::parse(order_no).map_err(broken)?))
            })
            .collect()
    }

    /// Sets when an order is asked about next, if ever. Not a change of the order: nothing about the money moved, so its
    /// version stays. `version` is the one that was looked at: a newer one knows better when it wants to be asked about.
    pub async fn schedule_query(
        &self,
        order_id: i64,
        version: i64,
        done: u32,
        next: Option<Timestamp>,
    ) -> Result<(), DbError> {
        let sql = "UPDATE orders SET queries_done = $3,
                     next_query_at_ms = CASE WHEN state IN ('requested', 'payable') THEN $4 END,
                     next_look_at_ms = CASE WHEN state IN ('requested', 'payable') THEN NULL ELSE $4 END
                   WHERE id = $1 AND version = $2";
        let next: Option<i64> = next.map(Timestamp::as_ms);
        let values = [order_id.into(), version.into(), i64::from(done).into(), next.into()];
        self.db.write().execute_raw(self.db.statement(sql, values)).await?;
        Ok(())
    }
}

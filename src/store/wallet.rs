//! The order that a wallet payment offers now: one per user and amount, so that a double click or a reload pays once.
//!
//! Only the number is kept here; whether the order can still be paid is the order's own business. What must stay true:
//! of two processes that offer a new number at once, one wins and both show the winner's.

use sea_orm::ConnectionTrait;

use super::Store;
use super::db::DbError;
use super::writer::ReadPool;
use crate::clock::Timestamp;
use crate::ids::{AppKey, MerchantKey, OpenId, OrderNo};
use crate::money::Fen;

impl Store {
    /// The order offered to this user for this amount last.
    pub async fn wallet_order(&self, app: &AppKey, openid: &OpenId, amount: Fen) -> Result<Option<OrderNo>, DbError> {
        self.offered(self.db.read(), app, openid, amount).await
    }

    async fn offered(
        &self,
        db: &ReadPool,
        app: &AppKey,
        openid: &OpenId,
        amount: Fen,
    ) -> Result<Option<OrderNo>, DbError> {
        let sql = "SELECT order_no FROM wallet_orders WHERE app = $1 AND openid = $2 AND amount_fen = $3";
        let values = [app.as_str().into(), openid.as_str().into(), amount.as_i64().into()];
        let row = db.query_one_raw(self.db.statement(sql, values)).await?;
        row.map(|row| number(row.try_get("", "order_no")?)).transpose()
    }

    /// Compare-and-set: replaces the offered number `old` (`None` when none was offered) by `new`. Returns the number
    /// now offered: `new`, or the one that a concurrent caller set first.
    pub async fn offer_wallet_order(
        &self,
        app: &AppKey,
        openid: &OpenId,
        amount: Fen,
        old: Option<&OrderNo>,
        new: &OrderNo,
        now: Timestamp,
    ) -> Result<OrderNo, DbError> {
        let sql =
            "INSERT INTO wallet_orders (app, openid, amount_fen, order_no, offered_at_ms) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (app, openid, amount_fen)
                     DO UPDATE SET order_no = excluded.order_no, offered_at_ms = excluded.offered_at_ms
                     WHERE wallet_orders.order_no = $6
                   RETURNING order_no";
        loop {
            let values = [
                app.as_str().into(),
                openid.as_str().into(),
                amount.as_i64().into(),
                new.as_str().into(),
                now.as_ms().into(),
                // No number is empty: without an old one, an existing row belongs to another caller.
                old.map_or("", OrderNo::as_str).into(),
            ];
            if let Some(row) = self.db.execute_returning("wallet.offer", sql, values).await? {
                return number(row.get("order_no")?);
            }
            if let Some(winner) = self.offered(self.db.read(), app, openid, amount).await? {
                return Ok(winner);
            }
            // Only a clean-up between the two statements leaves nothing; then the place is free.
        }
    }

    /// How many of the orders offered to this user since then can be paid and are not, those of other amounts than
    /// `but`. One that is not recorded yet counts where it was offered since the second moment: its request may have
    /// crashed.
    pub async fn open_wallet_orders(
        &self,
        (app, openid): (&AppKey, &OpenId),
        merchant: &MerchantKey,
        (since, unrecorded_since): (Timestamp, Timestamp),
        but: Fen,
    ) -> Result<i64, DbError> {
        let sql = "SELECT COUNT(*) AS open FROM wallet_orders
                   LEFT JOIN orders ON orders.merchant = $3 AND orders.order_no = wallet_orders.order_no
                   WHERE wallet_orders.app = $1 AND wallet_orders.openid = $2 AND wallet_orders.offered_at_ms >= $4
                     AND wallet_orders.amount_fen <> $5
                     AND (orders.state IN ('requested', 'payable')
                          OR orders.id IS NULL AND wallet_orders.offered_at_ms >= $6)";
        let values = [
            app.as_str().into(),
            openid.as_str().into(),
            merchant.as_str().into(),
            since.as_ms().into(),
            but.as_i64().into(),
            unrecorded_since.as_ms().into(),
        ];
        let row = self.db.read().query_one_raw(self.db.statement(sql, values)).await?;
        row.map_or(Ok(0), |row| Ok(row.try_get("", "open")?))
    }

    /// Forgets offers made before `before`, which must be longer ago than an order can be paid; at most `limit`,
    /// answers how many.
    pub async fn purge_wallet_orders(&self, before: Timestamp, limit: u64) -> Result<u64, DbError> {
        let sql = "DELETE FROM wallet_orders WHERE (app, openid, amount_fen) IN (
                     SELECT app, openid, amount_fen FROM wallet_orders WHERE offered_at_ms < $1 LIMIT $2)";
        self.purge(sql, before, limit).await
    }
}

fn number(text: String) -> Result<OrderNo, DbError> {
    OrderNo::parse(text).map_err(|e| DbError::Defect(format!("wallet_orders: {e}")))
}

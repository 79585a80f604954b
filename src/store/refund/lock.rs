//! Which row serialises the refunds of a payment: its order's, or its own where it has no order.
//!
//! It is locked first by everything that writes around refunds: reservations of one payment are serialised, and the
//! lock order is always the same (no deadlock). SQLite has one writer anyway.

use std::collections::{HashMap, HashSet};

use crate::ids::{MerchantKey, OutTradeNo, TransactionId};
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::order::rows::broken;
use crate::store::writer::WriteTx;

/// Locks for a refund of this order, or of no order.
pub(in crate::store) async fn lock_refunds(
    tx: &WriteTx,
    order_id: Option<i64>,
    merchant: &MerchantKey,
    transaction_id: &TransactionId,
) -> Result<(), DbError> {
    if tx.kind() != DbKind::Postgres {
        return Ok(());
    }
    let payment = || [merchant.as_str().into(), transaction_id.as_str().into()];
    match order_id {
        Some(order_id) => {
            tx.one("SELECT id FROM orders WHERE id = $1 FOR UPDATE", [order_id.into()]).await?;
        }
        None => {
            // An order may have appeared since: orders are locked before payments.
            let order = "SELECT id FROM orders WHERE id = (
                           SELECT order_id FROM payments WHERE merchant = $1 AND transaction_id = $2) FOR UPDATE";
            tx.one(order, payment()).await?;
            tx.one("SELECT id FROM payments WHERE merchant = $1 AND transaction_id = $2 FOR UPDATE", payment()).await?;
        }
    }
    Ok(())
}

/// Locks the rows of the orders that have these attempts.
pub(in crate::store) async fn lock_orders(
    tx: &WriteTx,
    merchant: &MerchantKey,
    numbers: &[OutTradeNo],
) -> Result<(), DbError> {
    if tx.kind() == DbKind::Postgres {
        let kind = tx.kind();
        let numbers_in = kind.among_texts("out_trade_no", 2);
        let sql = format!(
            "SELECT id FROM orders WHERE id IN (SELECT order_id FROM attempts WHERE merchant = $1 AND {numbers_in})
             ORDER BY id FOR UPDATE"
        );
        let values = [merchant.as_str().into(), kind.texts(numbers.iter().map(OutTradeNo::as_str))];
        tx.all(&sql, values).await?;
    }
    Ok(())
}

impl Store {
    /// Of these attempts those whose order another transaction has locked at this moment. None on SQLite, where a write
    /// waits for the other writer and for no row.
    pub async fn locked_attempts(
        &self,
        attempts: HashMap<MerchantKey, Vec<OutTradeNo>>,
    ) -> Result<HashSet<(MerchantKey, OutTradeNo)>, DbError> {
        if self.db.kind() != DbKind::Postgres {
            return Ok(HashSet::new());
        }
        self.db.write("order.locked", attempts, |tx, attempts| Box::pin(locked(tx, attempts))).await
    }
}

/// Finds them by locking the others for a moment.
async fn locked(
    tx: &WriteTx,
    attempts: &HashMap<MerchantKey, Vec<OutTradeNo>>,
) -> Result<HashSet<(MerchantKey, OutTradeNo)>, DbError> {
    let kind = tx.kind();
    let numbers_in = kind.among_texts("a.out_trade_no", 2);
    // No more than a change of the order locks: rows that refer to it may be written beside.
    let sql = format!(
        "WITH free AS MATERIALIZED (
           SELECT id FROM orders
           WHERE id IN (SELECT a.order_id FROM attempts AS a WHERE a.merchant = $1 AND {numbers_in})
           FOR NO KEY UPDATE SKIP LOCKED)
         SELECT a.out_trade_no FROM attempts AS a WHERE a.merchant = $1 AND {numbers_in}
           AND NOT EXISTS (SELECT 1 FROM free WHERE free.id = a.order_id)"
    );
    let mut found = HashSet::new();
    for (merchant, numbers) in attempts {
        let values = [merchant.as_str().into(), kind.texts(numbers.iter().map(OutTradeNo::as_str))];
        for row in tx.all(&sql, values).await? {
            let number = OutTradeNo::parse(row.get::<String>("out_trade_no")?).map_err(broken("out_trade_no"))?;
            found.insert((merchant.clone(), number));
        }
    }
    Ok(found)
}

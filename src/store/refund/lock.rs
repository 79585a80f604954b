//! Which row serialises the refunds of a payment: its order's, or its own where it has no order.
//!
//! It is locked first by everything that writes around refunds: reservations of one payment are serialised, and the
//! lock order is always the same (no deadlock). SQLite has one writer anyway.

use crate::ids::{MerchantKey, OutTradeNo, TransactionId};
use crate::store::db::{DbError, DbKind};
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

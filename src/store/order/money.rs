//! An order with the money of it, for those who are shown both.

use std::sync::Arc;

use sea_orm::DbErr;

use super::read::READS;
use super::rows::StoredOrder;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::payment::read::StoredPayment;
use crate::store::refund::rows::StoredRefund;

/// As one commit left it.
#[derive(Debug, Clone)]
pub struct OrderMoney {
    pub order: Arc<StoredOrder>,
    /// Oldest first.
    pub payments: Vec<StoredPayment>,
    /// Oldest first.
    pub refunds: Vec<StoredRefund>,
}

impl Store {
    /// An order that was read, with its payments and refunds; read again if it changed meanwhile.
    pub async fn with_money(&self, mut order: Arc<StoredOrder>) -> Result<OrderMoney, DbError> {
        for _ in 0..READS {
            let payments = self.payments_of_order(order.order.id).await?;
            let refunds = self.refunds_of_order(order.order.id).await?;
            if self.is_as_read(&order).await? {
                return Ok(OrderMoney { order, payments, refunds });
            }
            if let Some(now) = self.order(&order.order.merchant, &order.order.order_no).await? {
                order = Arc::new(now);
            }
        }
        Err(DbError::Unavailable(DbErr::Custom(format!("an order that changed during each of {READS} reads"))))
    }

    /// A refund that ends changes the sum of the order and not its version.
    async fn is_as_read(&self, of: &StoredOrder) -> Result<bool, DbError> {
        let sql = "SELECT version, refunded_fen FROM orders WHERE id = $1";
        let rows = self.db.reader().rows(sql, [of.order.id.into()]).await?;
        let Some(row) = rows.first() else { return Ok(true) };
        Ok(row.get::<i64>("version")? == of.order.version && row.get::<i64>("refunded_fen")? == of.refunded.as_i64())
    }
}

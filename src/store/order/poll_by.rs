//! Brings an order's next poll forward.

use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::DbError;

impl Store {
    /// Polls an order at `at` at the latest, whatever its state. Not a change of the order.
    pub async fn poll_order_by(&self, order_id: i64, at: Timestamp) -> Result<(), DbError> {
        let sql = "UPDATE orders SET
                     next_query_at_ms = CASE WHEN state NOT IN ('requested', 'payable') THEN next_query_at_ms
                       WHEN next_query_at_ms < $2 THEN next_query_at_ms ELSE $2 END,
                     next_look_at_ms = CASE WHEN state IN ('requested', 'payable') THEN next_look_at_ms
                       WHEN next_look_at_ms < $2 THEN next_look_at_ms ELSE $2 END
                   WHERE id = $1";
        self.db.execute("order.poll_by", sql, [order_id.into(), at.as_ms().into()]).await?;
        self.changed();
        Ok(())
    }
}

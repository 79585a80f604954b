//! Which payment a refund's number means, where the request names none.
//!
//! The first request under a number decides, whatever became of it: a repeat means the same payment, though another one
//! counts by then.

use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OutRefundNo, TransactionId};
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::order::rows::broken;
use crate::store::writer::WriteTx;

#[derive(Debug, Clone)]
struct Target {
    merchant: MerchantKey,
    refund_no: OutRefundNo,
    order_id: i64,
    transaction_id: TransactionId,
    at: Timestamp,
}

impl Store {
    /// The payment that the number means for this order: the one of the first request, which this may be.
    pub async fn refund_target(
        &self,
        merchant: &MerchantKey,
        refund_no: &OutRefundNo,
        order_id: i64,
        transaction_id: &TransactionId,
        at: Timestamp,
    ) -> Result<TransactionId, DbError> {
        let (merchant, refund_no) = (merchant.clone(), refund_no.clone());
        let target = Target { merchant, refund_no, order_id, transaction_id: transaction_id.clone(), at };
        self.db.write("refund.target", target, |tx, target| Box::pin(fix(tx, target))).await
    }
}

async fn fix(tx: &WriteTx, target: &Target) -> Result<TransactionId, DbError> {
    let key = [target.merchant.as_str().into(), target.refund_no.as_str().into(), target.order_id.into()];
    let sql = "INSERT INTO refund_targets (merchant, refund_no, order_id, transaction_id, created_at_ms)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let own = [target.transaction_id.as_str().into(), target.at.as_ms().into()];
    tx.execute(sql, key.clone().into_iter().chain(own)).await?;
    let sql = "SELECT transaction_id FROM refund_targets WHERE merchant = $1 AND refund_no = $2 AND order_id = $3";
    let row = tx.one(sql, key).await?;
    let first: Option<String> = row.map(|row| row.get("transaction_id")).transpose()?;
    first.map_or_else(
        || Ok(target.transaction_id.clone()),
        |first| TransactionId::parse(first).map_err(broken("transaction_id")),
    )
}

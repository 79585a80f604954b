//! The audit: who did what to money, from where, why, and with which result. Append-only.

use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OrderNo, TransactionId};
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::writer::WriteTx;

/// An operator's action.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// The API key's name.
    pub actor: String,
    /// The client's address.
    pub remote_addr: String,
    /// What was asked for: `payment.accept`.
    pub action: &'static str,
    /// The merchant.
    pub merchant: MerchantKey,
    /// The order, where there is one.
    pub order_no: Option<OrderNo>,
    /// The payment.
    pub transaction_id: Option<TransactionId>,
    /// The operator's reason.
    pub reason: String,
    /// `done`, `repeated`, or the name of the problem.
    pub result: String,
}

impl Store {
    /// Records an action that changed nothing: one that did is recorded with its change.
    pub async fn record_audit(&self, entry: &AuditEntry) -> Result<(), DbError> {
        self.db.write("audit.record", entry.clone(), |tx, entry| Box::pin(write_audit(tx, entry))).await
    }
}

pub(in crate::store) async fn write_audit(tx: &WriteTx, e: &AuditEntry) -> Result<(), DbError> {
    let sql =
        "INSERT INTO audit (at_ms, actor, remote_addr, action, merchant, order_no, transaction_id, reason, result)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let values = [
        e.at.as_ms().into(),
        e.actor.clone().into(),
        e.remote_addr.clone().into(),
        e.action.into(),
        e.merchant.to_string().into(),
        e.order_no.as_ref().map(ToString::to_string).into(),
        e.transaction_id.as_ref().map(ToString::to_string).into(),
        e.reason.clone().into(),
        e.result.clone().into(),
    ];
    tx.execute(sql, values).await?;
    Ok(())
}

//! The audit: who did what, from where, why, and with which result. Append-only.

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
    /// The name of the API key or user; empty where none is known.
    pub actor: String,
    /// What stays when the key or its name is changed.
    pub actor_id: Option<String>,
    /// The client's address.
    pub remote_addr: String,
    /// What was asked for: `payment.accept`.
    pub action: &'static str,
    /// The merchant, where it is about one.
    pub merchant: Option<MerchantKey>,
    /// The order, where there is one.
    pub order_no: Option<OrderNo>,
    /// The payment.
    pub transaction_id: Option<TransactionId>,
    /// What else it is about: `dead_letter:4711`, `replay:12`, `refund:R-1`.
    pub subject: Option<String>,
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
        "INSERT INTO audit (at_ms, actor, remote_addr, action, merchant, order_no, transaction_id, reason, result,
                                  actor_id, subject)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let values = [
        e.at.as_ms().into(),
        e.actor.clone().into(),
        e.remote_addr.clone().into(),
        e.action.into(),
        // The version before reads and writes a merchant in every row.
        e.merchant.as_ref().map(ToString::to_string).unwrap_or_default().into(),
        e.order_no.as_ref().map(ToString::to_string).into(),
        e.transaction_id.as_ref().map(ToString::to_string).into(),
        e.reason.clone().into(),
        e.result.clone().into(),
        e.actor_id.clone().into(),
        e.subject.clone().into(),
    ];
    tx.execute(sql, values).await?;
    Ok(())
}

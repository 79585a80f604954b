//! The audit: who did what, from where, why, and with which result. Append-only.

use sea_orm::ConnectionTrait;

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

    /// Records an action unless there is a row under the same key, by any process.
    pub async fn record_audit_once(&self, entry: &AuditEntry, key: &str) -> Result<(), DbError> {
        // Mostly it is known, which is found without a writer.
        let sql = "SELECT 1 AS known FROM audit WHERE once_key = $1";
        if self.db.read().query_one_raw(self.db.statement(sql, [key.into()])).await?.is_some() {
            return Ok(());
        }
        let write = (entry.clone(), key.to_owned());
        self.db.write("audit.record_once", write, |tx, (entry, key)| Box::pin(insert(tx, entry, Some(key)))).await
    }
}

pub(in crate::store) async fn write_audit(tx: &WriteTx, e: &AuditEntry) -> Result<(), DbError> {
    insert(tx, e, None).await
}

async fn insert(tx: &WriteTx, e: &AuditEntry, once_key: Option<&str>) -> Result<(), DbError> {
    // Any other conflict fails the transaction: no money moves without its row.
    let known = if once_key.is_some() { "ON CONFLICT (once_key) WHERE once_key IS NOT NULL DO NOTHING" } else { "" };
    let sql = format!(
        "INSERT INTO audit (at_ms, actor, remote_addr, action, merchant, order_no, transaction_id, reason, result,
                            actor_id, subject, once_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) {known}"
    );
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
        once_key.map(str::to_owned).into(),
    ];
    tx.execute(&sql, values).await?;
    Ok(())
}

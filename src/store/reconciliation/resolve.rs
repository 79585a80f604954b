//! Lines that a person explains, and lines that a repair was made for.

use sea_orm::Value;

use crate::clock::Timestamp;
use crate::reconciliation::Resolution;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::reconciliation::types::Reconciliation;
use crate::store::writer::WriteTx;

/// What becomes of a line.
#[derive(Debug, Clone)]
pub struct LineChange {
    pub line: i64,
    /// `resolved` or `repaired`.
    pub to: Resolution,
    pub note: String,
    pub by: String,
    pub at: Timestamp,
    pub audit: AuditEntry,
}

impl Store {
    /// Changes an open line of the day's result, and how many are open. `false` where it is not open or the day has
    /// another result by now: nothing was written.
    pub async fn change_line(&self, of: &Reconciliation, change: &LineChange) -> Result<bool, DbError> {
        let write = (of.clone(), change.clone());
        let done =
            self.db.write("reconciliation.resolve", write, |tx, (of, change)| Box::pin(change_in(tx, of, change)));
        let done = done.await?;
        if done {
            self.changed();
        }
        Ok(done)
    }
}

/// As [`Store::change_line`], as a part of a write.
pub(super) async fn change_in(tx: &WriteTx, of: &Reconciliation, change: &LineChange) -> Result<bool, DbError> {
    let key = [of.merchant.as_str().into(), of.day.as_str().into(), of.run.into()];
    // Its row is locked first: a run that ends meanwhile sees the note, or takes the place of the line.
    if lock(tx, key.clone()).await? == 0 {
        return Ok(false);
    }
    let sql = "UPDATE reconciliation_lines SET resolution = $5, note = $6, resolved_by = $7, resolved_at_ms = $8
               WHERE merchant = $1 AND day = $2 AND run = $3 AND id = $4 AND resolution = 'open'";
    let mut values = key.to_vec();
    values.extend([
        change.line.into(),
        change.to.as_str().into(),
        change.note.as_str().into(),
        change.by.as_str().into(),
        change.at.as_ms().into(),
    ]);
    if tx.execute(sql, values).await? == 0 {
        return Ok(false);
    }
    let sql = "UPDATE reconciliations SET open_lines = open_lines - 1 WHERE merchant = $1 AND day = $2 AND run = $3";
    tx.execute(sql, key).await?;
    write_audit(tx, &change.audit).await?;
    Ok(true)
}

/// Locks a day as long as it has this result; 0 where it has another one.
pub(super) async fn lock(tx: &WriteTx, key: [Value; 3]) -> Result<u64, DbError> {
    let sql = "UPDATE reconciliations SET runs = runs WHERE merchant = $1 AND day = $2 AND run = $3";
    tx.execute(sql, key).await
}

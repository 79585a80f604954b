//! Evidence of the version before, which has openids: the owner of the tables puts the payers' names in their place.
//!
//! What must stay true: the running service cannot do it. Where the tables have an owner of their own, its role is
//! needed; elsewhere it is a command of its own. A row changes in nothing but that, and in the write that changes rows
//! the table refuses changes again before it ends.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Value};

use super::hide::{openids, without_openids};
use super::scan::ROWS;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::entity::evidence;
use crate::store::packed::rows::{defect, read_evidence, rewritten_evidence};
use crate::store::writer::WriteTx;

/// A step through the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hidden {
    pub read: u64,
    pub changed: u64,
    /// The last row read; none where there are no more.
    pub next: Option<i64>,
}

impl Store {
    /// Puts names in the place of the openids of the next rows of evidence after `after`.
    pub async fn hide_payers(&self, after: i64) -> Result<Hidden, DbError> {
        let payers = self.payers().await?.clone();
        let rows = evidence::Entity::find()
            .filter(evidence::Column::Id.gt(after))
            .order_by_asc(evidence::Column::Id)
            .limit(ROWS)
            .all(self.db.read())
            .await?;
        let mut changes: Vec<[Value; 4]> = Vec::new();
        for row in &rows {
            let (fact, raw) = read_evidence(row).map_err(|e| defect("evidence", row.id, e))?;
            if openids(&fact, raw.as_deref()).is_empty() {
                continue;
            }
            let (fact, raw) = without_openids(&payers, fact, raw);
            let (fact, raw, packed) = rewritten_evidence(row, fact, raw);
            changes.push([fact.into(), raw.into(), packed.into(), row.id.into()]);
        }
        let changed = changes.len() as u64;
        if changed > 0 {
            self.db.write("evidence.hide", changes, |tx, changes| Box::pin(write(tx, changes))).await?;
        }
        let next = rows.last().map(|row| row.id).filter(|_| rows.len() as u64 >= ROWS);
        Ok(Hidden { read: rows.len() as u64, changed, next })
    }
}

async fn write(tx: &WriteTx, changes: &[[Value; 4]]) -> Result<(), DbError> {
    let (before, after) = match tx.kind() {
        DbKind::Postgres => (
            "SET LOCAL lock_timeout = '2s'; ALTER TABLE evidence DISABLE TRIGGER evidence_append_only",
            "ALTER TABLE evidence ENABLE TRIGGER evidence_append_only",
        ),
        DbKind::Sqlite => (
            "DROP TRIGGER evidence_no_update",
            "CREATE TRIGGER evidence_no_update BEFORE UPDATE ON evidence
               BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END",
        ),
    };
    tx.execute_unprepared(before).await?;
    for change in changes {
        let sql = "UPDATE evidence SET fact = $1, raw = $2, packed = $3 WHERE id = $4";
        tx.execute(sql, change.clone()).await?;
    }
    tx.execute_unprepared(after).await?;
    Ok(())
}

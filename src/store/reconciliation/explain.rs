//! Days that a person explains as a whole, because WeChat no longer has the bill to compare them with.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::writer::Row;

/// What explains a day, and who said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayNote {
    pub note: String,
    pub by: String,
    pub at: Timestamp,
}

/// A day to explain.
#[derive(Debug, Clone)]
pub struct ExplainedDay {
    pub merchant: MerchantKey,
    pub day: String,
    /// The run of its result; 0 where it has none.
    pub run: i64,
    pub note: DayNote,
    pub audit: AuditEntry,
}

impl Store {
    /// Explains a day, which is not tried again. `false` where it is being compared, has another result by now or open
    /// lines, or is explained: nothing was written.
    pub async fn explain_day(&self, explained: ExplainedDay) -> Result<bool, DbError> {
        let done = self.db.write("reconciliation.explain", explained, |tx, explained| {
            Box::pin(async move {
                let sql = "INSERT INTO reconciliations (merchant, day, work, runs, run, asked_by, asked_at_ms,
                                                        explained_run, explained_note, explained_by, explained_at_ms)
                           VALUES ($1, $2, 'idle', 0, 0, $4, $5, 0, $3, $4, $5)
                           ON CONFLICT (merchant, day) DO UPDATE SET explained_run = reconciliations.run,
                             explained_note = excluded.explained_note, explained_by = excluded.explained_by,
                             explained_at_ms = excluded.explained_at_ms, next_at_ms = NULL, recheck_at_ms = NULL
                           WHERE reconciliations.work = 'idle' AND reconciliations.run = $6
                             AND reconciliations.open_lines = 0
                             AND (reconciliations.explained_run IS NULL
                               OR reconciliations.explained_run <> reconciliations.run)";
                let values = [
                    explained.merchant.as_str().into(),
                    explained.day.as_str().into(),
                    explained.note.note.as_str().into(),
                    explained.note.by.as_str().into(),
                    explained.note.at.as_ms().into(),
                    explained.run.into(),
                ];
                if tx.execute(sql, values).await? == 0 {
                    return Ok(false);
                }
                write_audit(tx, &explained.audit).await?;
                Ok(true)
            })
        });
        let done = done.await?;
        if done {
            self.changed();
        }
        Ok(done)
    }
}

/// The note of a row, where it is one of the row's result.
pub(super) fn explained(row: &Row) -> Result<Option<DayNote>, DbError> {
    let Some(note) = row.get::<Option<String>>("explained_note")? else { return Ok(None) };
    let by = row.get::<Option<String>>("explained_by")?.unwrap_or_default();
    let at = Timestamp::from_ms(row.get::<Option<i64>>("explained_at_ms")?.unwrap_or_default());
    Ok(Some(DayNote { note, by, at }))
}

//! The cursors of the intake logs.
//!
//! What must stay true: a cursor moves only from where its reader saw it, in the transaction that writes the effects of
//! all records it passes, and what could not be settled is a message of the queue in that same transaction.

use sea_orm::ConnectionTrait;

use super::Store;
use super::db::DbError;
use super::queue::{NewRow, keep_moved};
use super::writer::WriteTx;

/// A cursor's move, and the messages that leave the log for the queue with it.
#[derive(Debug, Clone)]
pub struct IntakeStep {
    pub log: String,
    pub from: i64,
    pub to: i64,
    pub moved: Vec<NewRow>,
}

impl Store {
    /// Makes the cursor of a log, unless it has one.
    pub async fn open_intake_log(&self, log: &str, position: i64) -> Result<(), DbError> {
        let sql = format!(
            "INSERT INTO intake_logs (log, position, opened_at_ms) VALUES ($1, $2, {}) ON CONFLICT DO NOTHING",
            self.db.now_ms_sql()
        );
        self.db.execute("intake.open", sql, [log.into(), position.into()]).await?;
        Ok(())
    }

    /// The logs that have a cursor, with their positions.
    pub async fn intake_logs(&self) -> Result<Vec<(String, i64)>, DbError> {
        let sql = "SELECT log, position FROM intake_logs ORDER BY log";
        let rows = self.db.read().query_all_raw(self.db.statement(sql, [])).await?;
        rows.into_iter().map(|row| Ok((row.try_get("", "log")?, row.try_get("", "position")?))).collect()
    }

    /// Moves a cursor past records that all go to the queue.
    pub async fn advance_intake(&self, step: IntakeStep) -> Result<(), DbError> {
        self.db.write("intake.advance", step, |tx, step| Box::pin(advance(tx, step))).await
    }

    /// Removes the cursor of a log that is settled to its end.
    pub async fn close_intake_log(&self, log: &str) -> Result<(), DbError> {
        self.db.execute("intake.close", "DELETE FROM intake_logs WHERE log = $1", [log.into()]).await?;
        Ok(())
    }
}

/// Moves the cursor within a transaction; an error where it is elsewhere.
pub(in crate::store) async fn advance(tx: &WriteTx, step: &IntakeStep) -> Result<(), DbError> {
    let sql = "UPDATE intake_logs SET position = $3 WHERE log = $1 AND position = $2";
    if tx.execute(sql, [step.log.as_str().into(), step.from.into(), step.to.into()]).await? != 1 {
        return Err(DbError::Defect("the cursor of the intake log is elsewhere".into()));
    }
    keep_moved(tx, &step.moved).await
}

//! The cursors of the intake logs.
//!
//! What must stay true: a cursor moves only from where its reader saw it, in the transaction that writes the effects of
//! all records it passes, and what could not be settled is a message of the queue in that same transaction.

use sea_orm::ConnectionTrait;

use super::messages::keep_moved;
use super::row::NewRow;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::writer::WriteTx;

/// A log that has a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeLog {
    pub log: String,
    /// The folder of logs that it lies in.
    pub folder: String,
    pub position: i64,
    /// All of it is settled, and its files are about to go.
    pub has_ended: bool,
}

/// A cursor's move, and the messages that leave the log for the queue with it.
#[derive(Debug, Clone)]
pub struct IntakeStep {
    pub log: String,
    pub from: i64,
    pub to: i64,
    pub moved: Vec<NewRow>,
}

impl Store {
    /// The id that the headers of this database's logs name: made once, from this proposal.
    pub async fn intake_database(&self, proposal: &str) -> Result<String, DbError> {
        // A start needs no write but the first: another process may hold the database.
        if let Some(known) = self.known_intake_database().await? {
            return Ok(known);
        }
        let sql = "INSERT INTO intake_database (one, id) VALUES (1, $1) ON CONFLICT DO NOTHING";
        self.db.execute("intake.database", sql, [proposal.into()]).await?;
        let made = self.known_intake_database().await?;
        made.ok_or_else(|| DbError::Defect("the database has no id for its intake logs".into()))
    }

    async fn known_intake_database(&self) -> Result<Option<String>, DbError> {
        let sql = "SELECT id FROM intake_database WHERE one = 1";
        match self.db.read().query_one_raw(self.db.statement(sql, [])).await? {
            Some(row) => Ok(Some(row.try_get("", "id")?)),
            None => Ok(None),
        }
    }

    /// Makes the cursor of a log, unless it has one.
    pub async fn open_intake_log(&self, log: &str, folder: &str) -> Result<(), DbError> {
        let sql = format!(
            "INSERT INTO intake_logs (log, folder, position, opened_at_ms) VALUES ($1, $2, 0, {})
             ON CONFLICT DO NOTHING",
            self.db.now_ms_sql()
        );
        self.db.execute("intake.open", sql, [log.into(), folder.into()]).await?;
        Ok(())
    }

    /// The logs that have a cursor.
    pub async fn intake_logs(&self) -> Result<Vec<IntakeLog>, DbError> {
        let sql = "SELECT log, folder, position, ended_at_ms FROM intake_logs ORDER BY log";
        let rows = self.db.read().query_all_raw(self.db.statement(sql, [])).await?;
        let read = |row: sea_orm::QueryResult| {
            let ended: Option<i64> = row.try_get("", "ended_at_ms")?;
            Ok(IntakeLog {
                log: row.try_get("", "log")?,
                folder: row.try_get("", "folder")?,
                position: row.try_get("", "position")?,
                has_ended: ended.is_some(),
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Moves a cursor past records that all go to the queue.
    pub async fn advance_intake(&self, step: IntakeStep) -> Result<(), DbError> {
        self.db.write("intake.advance", step, |tx, step| Box::pin(advance(tx, step))).await
    }

    /// Notes that a log is settled to its end: its files may go, and that they are gone means no loss.
    pub async fn end_intake_log(&self, log: &str) -> Result<(), DbError> {
        let sql = format!("UPDATE intake_logs SET ended_at_ms = {} WHERE log = $1", self.db.now_ms_sql());
        self.db.execute("intake.end", sql, [log.into()]).await?;
        Ok(())
    }

    /// Removes the cursor of a log whose files are gone.
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

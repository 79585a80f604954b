//! Which days are to be reconciled, and the beginning and the failure of a run.

use sea_orm::Value;

use super::types::{IS_MIXED, day_of};
use crate::clock::Timestamp;
use crate::event::domain::EncodedEvent;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::evidence::outbox_row;
use crate::store::leases::{Fenced, Lease, holds};
use crate::store::order::rows::{UNREADABLE, broken, readable};
use crate::store::outbox::write_events;
use crate::store::writer::{Row, WriteTx};

/// Results of which one write notes that they are of yuan alone.
const YUAN_DAYS: u64 = 200;
/// Days of which it is not known what currencies their result has.
const UNEXAMINED: &str = "run > 0 AND work = 'idle' AND (others_run IS NULL OR others_run <> run)";

/// A day that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDay {
    pub merchant: MerchantKey,
    pub day: String,
}

/// How a run that brought no result ended.
#[derive(Debug, Clone)]
pub struct FailedRun {
    pub merchant: MerchantKey,
    pub day: String,
    /// In words for people.
    pub error: String,
    /// When it is tried again; none where that is of no use.
    pub next_at: Option<Timestamp>,
    /// The event about it; none where the reason is that of the run before.
    pub event: Option<EncodedEvent>,
}

impl Store {
    /// Asks for a day. One that is asked for or worked on already stays as it is; `true` where it was not.
    pub async fn ask_reconciliation(
        &self,
        merchant: &MerchantKey,
        day: &str,
        by: Option<&str>,
        at: Timestamp,
    ) -> Result<bool, DbError> {
        let sql = "INSERT INTO reconciliations (merchant, day, work, runs, run, asked_by, asked_at_ms, next_at_ms)
                   VALUES ($1, $2, 'pending', 0, 0, $3, $4, $4)
                   ON CONFLICT (merchant, day) DO UPDATE SET work = 'pending', asked_by = excluded.asked_by,
                     asked_at_ms = excluded.asked_at_ms, next_at_ms = excluded.next_at_ms
                   WHERE reconciliations.work = 'idle'";
        let values = [merchant.as_str().into(), day.into(), by.map(str::to_owned).into(), at.as_ms().into()];
        let asked = self.db.execute("reconciliation.ask", sql, values).await? > 0;
        if asked {
            self.changed();
        }
        Ok(asked)
    }

    /// Days to be reconciled now, those that were due first before others. A day whose lines are being repaired waits.
    pub async fn due_reconciliations(&self, now: Timestamp, limit: u64) -> Result<Vec<DueDay>, DbError> {
        let sql = "SELECT merchant, day FROM reconciliations AS r WHERE next_at_ms IS NOT NULL AND next_at_ms <= $1
                     AND NOT EXISTS (SELECT 1 FROM reconciliation_repairs AS p
                                     WHERE p.merchant = r.merchant AND p.day = r.day AND p.state = 'running')
                   ORDER BY next_at_ms, day DESC";
        self.due(sql, vec![now.as_ms().into()], limit).await
    }

    /// Days from `from` on whose carried or pending lines are to be compared again.
    pub async fn rechecks(&self, now: Timestamp, from: &str, limit: u64) -> Result<Vec<DueDay>, DbError> {
        let sql = "SELECT merchant, day FROM reconciliations WHERE recheck_at_ms IS NOT NULL AND recheck_at_ms <= $1
                   AND work = 'idle' AND day >= $2 ORDER BY recheck_at_ms";
        self.due(sql, vec![now.as_ms().into(), from.into()], limit).await
    }

    /// Days of a merchant from `from` on whose result has no sums per currency, though there are several.
    pub async fn mixed_days(&self, merchant: &MerchantKey, from: &str, limit: u64) -> Result<Vec<DueDay>, DbError> {
        let sql = format!(
            "SELECT merchant, day FROM reconciliations
             WHERE merchant = $1 AND day >= $2 AND work = 'idle' AND error IS NULL AND {IS_MIXED}"
        );
        self.due(&sql, vec![merchant.as_str().into(), from.into()], limit).await
    }

    /// Whether there is anything for [`Store::note_yuan_days`] to do.
    pub async fn has_unnoted_yuan_days(&self, merchant: &MerchantKey) -> Result<bool, DbError> {
        let sql = format!(
            "SELECT 1 AS n FROM reconciliations
             WHERE merchant = $1 AND {UNEXAMINED} AND NOT {IS_MIXED} LIMIT 1"
        );
        Ok(!self.db.reader().rows(&sql, [merchant.as_str().into()]).await?.is_empty())
    }

    /// Notes which results of a version that knew no currencies are of yuan alone, some hundreds at a time: a list need
    /// not read all of their lines again. Another run of that version undoes it.
    pub async fn note_yuan_days(&self, merchant: &MerchantKey) -> Result<u64, DbError> {
        if !self.has_unnoted_yuan_days(merchant).await? {
            return Ok(0);
        }
        let sql = format!(
            "UPDATE reconciliations SET others = '{{}}', others_red = 0, others_run = run
             WHERE merchant = $1 AND {UNEXAMINED} AND (day, run) IN (
               SELECT day, run FROM reconciliations
               WHERE merchant = $1 AND {UNEXAMINED} AND NOT {IS_MIXED} LIMIT {YUAN_DAYS})"
        );
        let write = (sql, merchant.clone());
        let noted = self.db.write("reconciliation.yuan", write, |tx, (sql, merchant)| {
            Box::pin(async move { tx.execute(sql.as_str(), [merchant.as_str().into()]).await })
        });
        noted.await
    }

    async fn due(&self, sql: &str, values: Vec<Value>, limit: u64) -> Result<Vec<DueDay>, DbError> {
        let sql = format!("{sql} LIMIT {}", limit.saturating_add(UNREADABLE));
        let rows = self.db.reader().rows(&sql, values).await?;
        let due = |row: &Row| {
            let merchant = MerchantKey::parse(row.get::<String>("merchant")?).map_err(broken("merchant"))?;
            Ok(DueDay { merchant, day: row.get("day")? })
        };
        Ok(readable("day that is reconciled", &rows, limit, day_of, due))
    }

    /// The days of a merchant from `from` on that were ever asked for.
    pub async fn asked_days(&self, merchant: &MerchantKey, from: &str) -> Result<Vec<String>, DbError> {
        let sql = "SELECT day FROM reconciliations WHERE merchant = $1 AND day >= $2";
        let rows = self.db.reader().rows(sql, [merchant.as_str().into(), from.into()]).await?;
        rows.iter().map(|row| row.get("day")).collect()
    }

    /// Begins a run of a day and answers its number. At `again_at` the day is due again if this run has not ended.
    pub async fn begin_reconciliation(
        &self,
        lease: &Lease,
        due: &DueDay,
        (at, again_at): (Timestamp, Timestamp),
    ) -> Result<Fenced<i64>, DbError> {
        let write = (lease.clone(), due.clone(), at, again_at);
        let begun = self.db.write("reconciliation.begin", write, |tx, (lease, due, at, again_at)| {
            Box::pin(begin(tx, lease, due, *at, *again_at))
        });
        begun.await
    }

    /// Ends a run without a result: the one before stays.
    pub async fn fail_reconciliation(&self, lease: &Lease, failed: &FailedRun) -> Result<Fenced<()>, DbError> {
        let write = (lease.clone(), failed.clone());
        let ended = self
            .db
            .write("reconciliation.fail", write, |tx, (lease, failed)| Box::pin(fail(tx, lease, failed)))
            .await?;
        self.changed();
        Ok(ended)
    }
}

async fn begin(
    tx: &WriteTx,
    lease: &Lease,
    due: &DueDay,
    at: Timestamp,
    again_at: Timestamp,
) -> Result<Fenced<i64>, DbError> {
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    let sql = "UPDATE reconciliations SET work = 'running', runs = runs + 1, started_at_ms = $3, next_at_ms = $4,
                 recheck_at_ms = NULL
               WHERE merchant = $1 AND day = $2 RETURNING runs";
    let values = [due.merchant.as_str().into(), due.day.as_str().into(), at.as_ms().into(), again_at.as_ms().into()];
    let row = tx.one(sql, values).await?;
    let runs = row.map(|row| row.get("runs")).transpose()?;
    runs.map(Fenced::Done).ok_or_else(|| DbError::Defect("a day that was not asked for".into()))
}

async fn fail(tx: &WriteTx, lease: &Lease, failed: &FailedRun) -> Result<Fenced<()>, DbError> {
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    let sql = "UPDATE reconciliations SET work = 'idle', error = $3, next_at_ms = $4 WHERE merchant = $1 AND day = $2";
    let values = [
        failed.merchant.as_str().into(),
        failed.day.as_str().into(),
        failed.error.as_str().into(),
        failed.next_at.map(Timestamp::as_ms).into(),
    ];
    tx.execute(sql, values).await?;
    write_events(tx, failed.event.iter().map(outbox_row).collect()).await?;
    Ok(Fenced::Done(()))
}

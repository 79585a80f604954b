//! How far the repair of a day is: it goes on in batches, and then waits for what WeChat was asked about.
//!
//! What must stay true: a repair that was replaced by another one or stopped writes nothing any more; its lines are
//! found again by their order, so that a killed process costs one batch.

use sea_orm::Value;

use super::types::{LINE_COLUMNS, Line, Reconciliation, day_of, line};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::order::rows::{UNREADABLE, broken, readable, unknown};
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::writer::Row;

/// What a repair does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RepairState {
    /// Lines are repaired.
    Running,
    /// Lines that WeChat was asked about are not in the books yet.
    Settling,
    /// All that was asked about is in the books, or nothing was.
    Done,
    /// Some of it is not, after the last try.
    Unsettled,
    /// A person stopped it.
    Stopped,
}

named!(RepairState {
    Running = "running",
    Settling = "settling",
    Done = "done",
    Unsettled = "unsettled",
    Stopped = "stopped",
});

impl RepairState {
    /// Whether it goes on by itself.
    pub const fn is_under_way(self) -> bool {
        matches!(self, RepairState::Running | RepairState::Settling)
    }

    /// As it is stored: one that was stopped is done, with the time of that beside it.
    const fn stored(self) -> RepairState {
        if matches!(self, RepairState::Stopped) { RepairState::Done } else { self }
    }
}

/// The newest repair of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayRepair {
    pub merchant: MerchantKey,
    pub day: String,
    pub state: RepairState,
    pub reason: String,
    /// Who asked for it: name, id, address.
    pub by: [String; 3],
    /// The result whose lines are repaired, and the last line that was.
    pub run: i64,
    pub place: i64,
    /// Lines to repair, and how many were gone through.
    pub lines: i64,
    pub done: i64,
    /// Lines whose money was entered or was there, and lines that WeChat was asked about.
    pub repaired: i64,
    pub asked: i64,
    /// How many lines of the result were repaired at the last try, or were asked about and had arrived.
    pub settled: i64,
    /// How often it was tried whether they are.
    pub tries: i64,
    /// When it goes on; none where it is over.
    pub next_at: Option<Timestamp>,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
    /// Who stopped it, and when.
    pub stopped: Option<(String, Timestamp)>,
}

const COLUMNS: &str = "
merchant, day, state, reason, asked_by, asked_by_id, remote_addr, run, place, lines, done, repaired, asked, settled,
tries, next_at_ms, started_at_ms, updated_at_ms, stopped_by, stopped_at_ms";

/// Whether it goes on by itself: it was neither replaced nor stopped, and is not over.
const UNDER_WAY: &str = "merchant = $1 AND day = $2 AND started_at_ms = $3 AND state IN ('running', 'settling')";

/// Classes that a repair may mend.
const MENDABLE: &str = "class IN ('missing_here', 'refund_missing_here')";

impl Store {
    /// Writes a repair that begins, in place of the one before. One that is running is replaced only by another of the
    /// whole day; `false` where it stays.
    pub async fn begin_repair(&self, repair: &DayRepair) -> Result<bool, DbError> {
        let only =
            if repair.state == RepairState::Running { "" } else { "WHERE reconciliation_repairs.state <> 'running'" };
        let names = COLUMNS.split(',').map(str::trim).filter(|name| !matches!(*name, "merchant" | "day"));
        let set: Vec<String> = names.map(|name| format!("{name} = excluded.{name}")).collect();
        let sql = format!(
            "INSERT INTO reconciliation_repairs ({COLUMNS})
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                     $20)
             ON CONFLICT (merchant, day) DO UPDATE SET {} {only}",
            set.join(", ")
        );
        let [name, id, remote_addr] = repair.by.clone();
        let values = [
            repair.merchant.as_str().into(),
            repair.day.as_str().into(),
            repair.state.stored().as_str().into(),
            repair.reason.as_str().into(),
            name.into(),
            id.into(),
            remote_addr.into(),
            repair.run.into(),
            repair.place.into(),
            repair.lines.into(),
            repair.done.into(),
            repair.repaired.into(),
            repair.asked.into(),
            repair.settled.into(),
            repair.tries.into(),
            repair.next_at.map(Timestamp::as_ms).into(),
            repair.started_at.as_ms().into(),
            repair.updated_at.as_ms().into(),
            repair.stopped.as_ref().map(|(by, _)| by.clone()).into(),
            repair.stopped.as_ref().map(|(_, at)| at.as_ms()).into(),
        ];
        let begun = self.db.execute("reconciliation.repair", sql, values).await? > 0;
        self.changed();
        Ok(begun)
    }

    /// Writes how far a repair is; `false` where it was replaced or stopped: nothing was written.
    pub async fn note_repair(&self, repair: &DayRepair) -> Result<bool, DbError> {
        let sql = format!(
            "UPDATE reconciliation_repairs SET state = $4, run = $5, place = $6, done = $7, repaired = $8, asked = $9,
                 settled = $10, tries = $11, next_at_ms = $12, updated_at_ms = $13
             WHERE {UNDER_WAY}"
        );
        let values = [
            repair.merchant.as_str().into(),
            repair.day.as_str().into(),
            repair.started_at.as_ms().into(),
            repair.state.stored().as_str().into(),
            repair.run.into(),
            repair.place.into(),
            repair.done.into(),
            repair.repaired.into(),
            repair.asked.into(),
            repair.settled.into(),
            repair.tries.into(),
            repair.next_at.map(Timestamp::as_ms).into(),
            repair.updated_at.as_ms().into(),
        ];
        let noted = self.db.execute("reconciliation.repair", sql, values).await? > 0;
        self.changed();
        Ok(noted)
    }

    /// Stops a repair that is under way, with its audit row; `false` where it is not any more. Its time of beginning
    /// moves by a millisecond: a process of the version before, which fences by it alone, writes nothing either.
    pub async fn stop_repair(&self, repair: &DayRepair, audit: &AuditEntry) -> Result<bool, DbError> {
        let stop = self.db.write("reconciliation.stop", (repair.clone(), audit.clone()), |tx, (repair, audit)| {
            Box::pin(async move {
                let sql = format!(
                    "UPDATE reconciliation_repairs SET state = 'done', next_at_ms = NULL, stopped_by = $4,
                         stopped_at_ms = CASE WHEN $5 > started_at_ms THEN $5 ELSE started_at_ms + 1 END,
                         updated_at_ms = $5, started_at_ms = started_at_ms + 1
                     WHERE {UNDER_WAY}"
                );
                let mut values = key(repair).to_vec();
                values.extend([audit.actor.as_str().into(), audit.at.as_ms().into()]);
                if tx.execute(&sql, values).await? == 0 {
                    return Ok(false);
                }
                // Nothing is waited for any more, nor asked about again by a later repair.
                let sql = "UPDATE reconciliation_lines SET asked_at_ms = NULL
                           WHERE merchant = $1 AND day = $2 AND resolution = 'open' AND asked_at_ms IS NOT NULL";
                tx.execute(sql, [repair.merchant.as_str().into(), repair.day.as_str().into()]).await?;
                write_audit(tx, audit).await?;
                Ok(true)
            })
        });
        let stopped = stop.await?;
        self.changed();
        Ok(stopped)
    }

    /// Whether a repair was neither replaced nor stopped.
    pub async fn is_repair_under_way(&self, repair: &DayRepair) -> Result<bool, DbError> {
        let sql = format!("SELECT 1 AS n FROM reconciliation_repairs WHERE {UNDER_WAY}");
        Ok(!self.db.reader().rows(&sql, key(repair)).await?.is_empty())
    }

    /// The newest repair of a day.
    pub async fn day_repair(&self, merchant: &MerchantKey, day: &str) -> Result<Option<DayRepair>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM reconciliation_repairs WHERE merchant = $1 AND day = $2");
        let rows = self.db.reader().rows(&sql, [merchant.as_str().into(), day.into()]).await?;
        rows.first().map(repair).transpose()
    }

    /// Up to `limit` repairs that go on now, the longest due first.
    pub async fn due_repairs(&self, now: Timestamp, limit: u64) -> Result<Vec<DayRepair>, DbError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM reconciliation_repairs WHERE next_at_ms IS NOT NULL AND next_at_ms <= $1
             ORDER BY next_at_ms LIMIT {}",
            limit.saturating_add(UNREADABLE)
        );
        let rows = self.db.reader().rows(&sql, [now.as_ms().into()]).await?;
        Ok(readable("repair", &rows, limit, day_of, repair))
    }

    /// Up to `limit` open lines of a day's result that a repair may mend, behind the line `after`.
    pub async fn mendable_lines(&self, of: &Reconciliation, after: i64, limit: u64) -> Result<Vec<Line>, DbError> {
        let sql = format!(
            "SELECT {LINE_COLUMNS} FROM reconciliation_lines
             WHERE merchant = $1 AND day = $2 AND run = $3 AND id > $4 AND resolution = 'open' AND {MENDABLE}
             ORDER BY id LIMIT {limit}"
        );
        let values = [of.merchant.as_str().into(), of.day.as_str().into(), of.run.into(), after.into()];
        self.db.reader().rows(&sql, values).await?.iter().map(line).collect()
    }

    /// How many there are.
    pub async fn count_mendable_lines(&self, of: &Reconciliation) -> Result<i64, DbError> {
        let sql = format!(
            "SELECT COUNT(*) AS n FROM reconciliation_lines
             WHERE merchant = $1 AND day = $2 AND run = $3 AND resolution = 'open' AND {MENDABLE}"
        );
        let values = [of.merchant.as_str().into(), of.day.as_str().into(), of.run.into()];
        self.db.reader().rows(&sql, values).await?.first().map_or(Ok(0), |row| row.get("n"))
    }
}

fn key(repair: &DayRepair) -> [Value; 3] {
    [repair.merchant.as_str().into(), repair.day.as_str().into(), repair.started_at.as_ms().into()]
}

fn repair(row: &Row) -> Result<DayRepair, DbError> {
    let state: String = row.get("state")?;
    let state = RepairState::parse(&state).ok_or_else(|| unknown("state", &state))?;
    let at = |column: &str| Ok::<_, DbError>(row.get::<Option<i64>>(column)?.map(Timestamp::from_ms));
    let started_at = Timestamp::from_ms(row.get("started_at_ms")?);
    let stopped: Option<(String, Timestamp)> =
        row.get::<Option<String>>("stopped_by")?.zip(at("stopped_at_ms")?.filter(|at| *at >= started_at));
    let stopped = stopped.filter(|_| state == RepairState::Done);
    Ok(DayRepair {
        merchant: MerchantKey::parse(row.get::<String>("merchant")?).map_err(broken("merchant"))?,
        day: row.get("day")?,
        state: if stopped.is_some() { RepairState::Stopped } else { state },
        reason: row.get("reason")?,
        by: [row.get("asked_by")?, row.get("asked_by_id")?, row.get("remote_addr")?],
        run: row.get("run")?,
        place: row.get("place")?,
        lines: row.get("lines")?,
        done: row.get("done")?,
        repaired: row.get("repaired")?,
        asked: row.get("asked")?,
        settled: row.get("settled")?,
        tries: row.get("tries")?,
        next_at: at("next_at_ms")?,
        started_at,
        updated_at: Timestamp::from_ms(row.get("updated_at_ms")?),
        stopped,
    })
}

//! How far the repair of a day is: it goes on in batches, and then waits for what WeChat was asked about.
//!
//! What must stay true: a repair that is replaced by another one writes nothing any more; its lines are found again by
//! their order, so that a killed process costs one batch.

use super::types::{LINE_COLUMNS, Line, Reconciliation, line};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::order::rows::{broken, unknown};
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
}

named!(RepairState { Running = "running", Settling = "settling", Done = "done", Unsettled = "unsettled" });

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
    /// Of those, how many were in the books at the last try.
    pub settled: i64,
    /// How often it was tried whether they are.
    pub tries: i64,
    /// When it goes on; none where it is over.
    pub next_at: Option<Timestamp>,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Lines that WeChat was asked about and that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AskedLines {
    /// Their money is in the books.
    pub settled: i64,
    pub waiting: i64,
}

const COLUMNS: &str = "
merchant, day, state, reason, asked_by, asked_by_id, remote_addr, run, place, lines, done, repaired, asked, settled,
tries, next_at_ms, started_at_ms, updated_at_ms";

/// Classes that a repair may mend.
const MENDABLE: &str = "class IN ('missing_here', 'refund_missing_here')";

/// Whether the money of a line `l` is in the books; of a refund, whether WeChat has said how it stands.
const IN_BOOKS: &str = "
(CASE WHEN l.kind = 'payment'
 THEN EXISTS (SELECT 1 FROM payments AS p WHERE p.merchant = l.merchant AND p.transaction_id = l.transaction_id)
 ELSE EXISTS (SELECT 1 FROM refunds AS f WHERE f.merchant = l.merchant AND f.refund_no = l.refund_no
                AND (f.state IN ('succeeded', 'abnormal', 'failed') OR f.queries_done > 0)) END)";

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
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
             ON CONFLICT (merchant, day) DO UPDATE SET {} {only}",
            set.join(", ")
        );
        let [name, id, remote_addr] = repair.by.clone();
        let values = [
            repair.merchant.as_str().into(),
            repair.day.as_str().into(),
            repair.state.as_str().into(),
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
        ];
        let begun = self.db.execute("reconciliation.repair", sql, values).await? > 0;
        self.changed();
        Ok(begun)
    }

    /// Writes how far a repair is, unless another one has taken its place.
    pub async fn note_repair(&self, repair: &DayRepair) -> Result<(), DbError> {
        let sql =
            "UPDATE reconciliation_repairs SET state = $4, run = $5, place = $6, done = $7, repaired = $8, asked = $9,
                     settled = $10, tries = $11, next_at_ms = $12, updated_at_ms = $13
                   WHERE merchant = $1 AND day = $2 AND started_at_ms = $3";
        let values = [
            repair.merchant.as_str().into(),
            repair.day.as_str().into(),
            repair.started_at.as_ms().into(),
            repair.state.as_str().into(),
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
        self.db.execute("reconciliation.repair", sql, values).await?;
        self.changed();
        Ok(())
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
             ORDER BY next_at_ms LIMIT {limit}"
        );
        self.db.reader().rows(&sql, [now.as_ms().into()]).await?.iter().map(repair).collect()
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

    /// Notes that a repair had WeChat asked about a line, with its audit row.
    pub async fn note_asked(&self, line: i64, audit: &AuditEntry) -> Result<(), DbError> {
        let note = self.db.write("reconciliation.asked", (line, audit.clone()), |tx, (line, audit)| {
            Box::pin(async move {
                let sql = "UPDATE reconciliation_lines SET asked_at_ms = $2 WHERE id = $1 AND resolution = 'open'";
                tx.execute(sql, [(*line).into(), audit.at.as_ms().into()]).await?;
                write_audit(tx, audit).await
            })
        });
        note.await
    }

    /// Lines of a day's result that WeChat was asked about and that are open.
    pub async fn asked_lines(&self, of: &Reconciliation) -> Result<AskedLines, DbError> {
        let sql = format!(
            "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(CASE WHEN {IN_BOOKS} THEN 1 ELSE 0 END), 0) AS BIGINT) AS settled
             FROM reconciliation_lines AS l
             WHERE l.merchant = $1 AND l.day = $2 AND l.run = $3 AND l.resolution = 'open'
               AND l.asked_at_ms IS NOT NULL"
        );
        let values = [of.merchant.as_str().into(), of.day.as_str().into(), of.run.into()];
        let rows = self.db.reader().rows(&sql, values).await?;
        let Some(row) = rows.first() else { return Ok(AskedLines::default()) };
        let (n, settled): (i64, i64) = (row.get("n")?, row.get("settled")?);
        Ok(AskedLines { settled, waiting: n - settled })
    }

    /// Up to `limit` of them that are not in the books.
    pub async fn waiting_lines(&self, of: &Reconciliation, limit: u64) -> Result<Vec<Line>, DbError> {
        let sql = format!(
            "SELECT {LINE_COLUMNS} FROM reconciliation_lines AS l
             WHERE l.merchant = $1 AND l.day = $2 AND l.run = $3 AND l.resolution = 'open'
               AND l.asked_at_ms IS NOT NULL AND NOT {IN_BOOKS} ORDER BY l.id LIMIT {limit}"
        );
        let values = [of.merchant.as_str().into(), of.day.as_str().into(), of.run.into()];
        self.db.reader().rows(&sql, values).await?.iter().map(line).collect()
    }
}

fn repair(row: &Row) -> Result<DayRepair, DbError> {
    let state: String = row.get("state")?;
    Ok(DayRepair {
        merchant: MerchantKey::parse(row.get::<String>("merchant")?).map_err(broken("merchant"))?,
        day: row.get("day")?,
        state: RepairState::parse(&state).ok_or_else(|| unknown("state", &state))?,
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
        next_at: row.get::<Option<i64>>("next_at_ms")?.map(Timestamp::from_ms),
        started_at: Timestamp::from_ms(row.get("started_at_ms")?),
        updated_at: Timestamp::from_ms(row.get("updated_at_ms")?),
    })
}

//! The end of a run: its lines become the day's result, with the events about it, in one transaction.

use super::lines::RunKey;
use super::resolve::lock;
use super::types::figure_values;
use crate::clock::Timestamp;
use crate::event::domain::EncodedEvent;
use crate::reconciliation::{Figures, Loops};
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::evidence::outbox_row;
use crate::store::leases::{Fenced, Lease, holds};
use crate::store::outbox::write_events;
use crate::store::writer::WriteTx;

/// A run that came to its end.
#[derive(Debug, Clone)]
pub struct FinishedRun {
    pub key: RunKey,
    pub figures: Figures,
    pub loops: Loops,
    /// None of an empty day.
    pub bill_hash: Option<String>,
    /// The run whose lines it was compared with.
    pub replaces: i64,
    /// When a line may have changed by itself; none where none can.
    pub recheck_at: Option<Timestamp>,
    /// When the day is to be run again though it has a result; none where it is not.
    pub next_at: Option<Timestamp>,
    pub events: Vec<EncodedEvent>,
    pub at: Timestamp,
}

impl Store {
    /// The numbers of up to `limit` lines of `run` that are not among the lines of the run `before`: those that are
    /// open first, as they are not new to the next run either.
    pub async fn new_lines(&self, run: &RunKey, before: i64, limit: u64) -> Result<Vec<i64>, DbError> {
        let mut found = Vec::new();
        for resolution in ["= 'open'", "NOT IN ('none', 'open')"] {
            let rest = limit.saturating_sub(found.len() as u64);
            let sql = format!(
                "SELECT n.id AS id FROM reconciliation_lines AS n
                 WHERE n.merchant = $1 AND n.day = $2 AND n.run = $3 AND n.resolution {resolution} AND NOT EXISTS (
                   SELECT 1 FROM reconciliation_lines AS o WHERE o.merchant = n.merchant AND o.day = n.day
                     AND o.run = $4 AND o.line_key = n.line_key)
                 ORDER BY n.id LIMIT {rest}"
            );
            let values = [run.merchant.as_str().into(), run.day.as_str().into(), run.run.into(), before.into()];
            for row in &self.db.reader().rows(&sql, values).await? {
                found.push(row.get("id")?);
            }
        }
        Ok(found)
    }

    /// Keeps the notes of the run before on the same lines, and when WeChat was asked about them and what it said;
    /// answers how many lines are open then.
    pub async fn keep_notes(&self, lease: &Lease, run: &RunKey, before: i64) -> Result<Fenced<i64>, DbError> {
        let write = (lease.clone(), run.clone(), before);
        let keep = self.db.write("reconciliation.notes", write, |tx, (lease, run, before)| {
            Box::pin(async move {
                if !holds(tx, lease).await? {
                    return Ok(Fenced::Lost);
                }
                notes(tx, run, *before).await.map(Fenced::Done)
            })
        });
        keep.await
    }

    /// Makes a run the day's result.
    pub async fn finish_reconciliation(&self, lease: &Lease, run: &FinishedRun) -> Result<Fenced<()>, DbError> {
        let write = (lease.clone(), run.clone());
        let done =
            self.db.write("reconciliation.finish", write, |tx, (lease, run)| Box::pin(finish(tx, lease, run))).await?;
        self.changed();
        Ok(done)
    }
}

async fn notes(tx: &WriteTx, run: &RunKey, before: i64) -> Result<i64, DbError> {
    let same = "o.merchant = reconciliation_lines.merchant AND o.day = reconciliation_lines.day AND o.run = $4
                AND o.line_key = reconciliation_lines.line_key AND o.resolution = 'resolved'";
    let old = |column: &str| format!("{column} = (SELECT o.{column} FROM reconciliation_lines AS o WHERE {same})");
    let sql = format!(
        "UPDATE reconciliation_lines SET resolution = 'resolved', {}, {}, {}
         WHERE merchant = $1 AND day = $2 AND run = $3 AND resolution = 'open'
           AND EXISTS (SELECT 1 FROM reconciliation_lines AS o WHERE {same})",
        old("note"),
        old("resolved_by"),
        old("resolved_at_ms")
    );
    let key = [run.merchant.as_str().into(), run.day.as_str().into(), run.run.into()];
    let mut values = key.to_vec();
    values.push(before.into());
    tx.execute(&sql, values.clone()).await?;
    let was_asked = same.replace("o.resolution = 'resolved'", "(o.asked_at_ms IS NOT NULL OR o.said IS NOT NULL)");
    let old = |column: &str| format!("{column} = (SELECT o.{column} FROM reconciliation_lines AS o WHERE {was_asked})");
    let sql = format!(
        "UPDATE reconciliation_lines SET {}, {}
         WHERE merchant = $1 AND day = $2 AND run = $3 AND resolution = 'open'
           AND EXISTS (SELECT 1 FROM reconciliation_lines AS o WHERE {was_asked})",
        old("asked_at_ms"),
        old("said")
    );
    tx.execute(&sql, values).await?;
    let sql = "SELECT COUNT(*) AS n FROM reconciliation_lines
               WHERE merchant = $1 AND day = $2 AND run = $3 AND resolution = 'open'";
    tx.one(sql, key).await?.map_or(Ok(0), |row| row.get("n"))
}

async fn finish(tx: &WriteTx, lease: &Lease, f: &FinishedRun) -> Result<Fenced<()>, DbError> {
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    let before = [f.key.merchant.as_str().into(), f.key.day.as_str().into(), f.replaces.into()];
    // Its events say what is new in it: to the result that it was compared with, and by the newest run alone. A run
    // that was stopped may have handed this in before.
    if lock(tx, before).await? == 0 || !is_newest(tx, f).await? {
        return Ok(Fenced::Lost);
    }
    // A note that was made since is on a line of the run before: kept with the rest.
    let open_lines = notes(tx, &f.key, f.replaces).await?;
    let sql = "UPDATE reconciliations SET work = 'idle', error = NULL, run = $3, bill_hash = $4, finished_at_ms = $5,
                 next_at_ms = $6, recheck_at_ms = $7, open_lines = $8, bill_payments = $9, bill_refunds = $10,
                 bill_payments_fen = $11, bill_refunds_fen = $12, bill_coupons_fen = $13, bill_settlement_fen = $14,
                 bill_fees = $15, ledger_payments = $16, ledger_refunds = $17, ledger_payments_fen = $18,
                 ledger_refunds_fen = $19, classes = $20, loops = $21, unexplained_fen = $22, differences = $23,
                 difference_fen = $24, others = $25, others_red = $26, others_run = $3
               WHERE merchant = $1 AND day = $2";
    let mut values = vec![
        f.key.merchant.as_str().into(),
        f.key.day.as_str().into(),
        f.key.run.into(),
        f.bill_hash.clone().into(),
        f.at.as_ms().into(),
        f.next_at.map(Timestamp::as_ms).into(),
        f.recheck_at.map(Timestamp::as_ms).into(),
        open_lines.into(),
    ];
    values.extend(figure_values(&f.figures, &f.loops)?);
    tx.execute(sql, values).await?;
    write_events(tx, f.events.iter().map(outbox_row).collect()).await?;
    Ok(Fenced::Done(()))
}

async fn is_newest(tx: &WriteTx, f: &FinishedRun) -> Result<bool, DbError> {
    let sql = "SELECT run FROM reconciliations WHERE merchant = $1 AND day = $2 AND runs = $3";
    let values = [f.key.merchant.as_str().into(), f.key.day.as_str().into(), f.key.run.into()];
    Ok(tx.one(sql, values).await?.is_some())
}

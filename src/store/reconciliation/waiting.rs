//! Lines that WeChat was asked about: those that wait for its answer, and what it said of them.

use sea_orm::Value;

use super::types::{LINE_COLUMNS, Line, Reconciliation, line};
use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::payment::audit::{AuditEntry, write_audit};

/// Lines that WeChat was asked about and that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AskedLines {
    /// Their money is in the books.
    pub settled: i64,
    pub waiting: i64,
}

/// What asking WeChat about a line came to, short of repairing it.
#[derive(Debug, Clone, Default)]
pub struct AskedLine {
    pub line: i64,
    /// When it was asked; none where the answer is final, so that it is not asked again.
    pub at: Option<Timestamp>,
    /// What it said that is not conclusive, or why nothing can be repaired.
    pub said: Option<String>,
    /// None of a line that is asked about again: its row is there.
    pub audit: Option<AuditEntry>,
}

/// Whether the money of a line `l` is in the books; of a refund, whether WeChat has said how it stands.
const IN_BOOKS: &str = "
(CASE WHEN l.kind = 'payment'
 THEN EXISTS (SELECT 1 FROM payments AS p WHERE p.merchant = l.merchant AND p.transaction_id = l.transaction_id)
 ELSE EXISTS (SELECT 1 FROM refunds AS f WHERE f.merchant = l.merchant AND f.refund_no = l.refund_no
                AND (f.state IN ('succeeded', 'abnormal', 'failed') OR f.queries_done > 0)) END)";

/// Whether it is there as the bill has it.
const AS_BILLED: &str = "
(CASE WHEN l.kind = 'payment'
 THEN EXISTS (SELECT 1 FROM payments AS p WHERE p.merchant = l.merchant AND p.transaction_id = l.transaction_id
                AND p.amount_fen = l.bill_fen AND p.currency = l.bill_currency)
 ELSE EXISTS (SELECT 1 FROM refunds AS f WHERE f.merchant = l.merchant AND f.refund_no = l.refund_no
                AND f.state = 'succeeded' AND f.amount_fen = l.bill_fen AND f.currency = l.bill_currency) END)";

impl Store {
    /// Notes what asking WeChat about an open line came to, with its audit row.
    pub async fn note_asked(&self, asked: &AskedLine) -> Result<(), DbError> {
        let note = self.db.write("reconciliation.asked", asked.clone(), |tx, asked| {
            Box::pin(async move {
                let sql = "UPDATE reconciliation_lines SET asked_at_ms = $2, said = $3
                           WHERE id = $1 AND resolution = 'open'";
                let values = [asked.line.into(), asked.at.map(Timestamp::as_ms).into(), asked.said.clone().into()];
                tx.execute(sql, values).await?;
                match &asked.audit {
                    Some(audit) => write_audit(tx, audit).await,
                    None => Ok(()),
                }
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
        let rows = self.db.reader().rows(&sql, key(of)).await?;
        let Some(row) = rows.first() else { return Ok(AskedLines::default()) };
        let (n, settled): (i64, i64) = (row.get("n")?, row.get("settled")?);
        Ok(AskedLines { settled, waiting: n - settled })
    }

    /// Lines of a day's result that were repaired: the result does not know it.
    pub async fn count_repaired_lines(&self, of: &Reconciliation) -> Result<i64, DbError> {
        let sql = "SELECT COUNT(*) AS n FROM reconciliation_lines
                   WHERE merchant = $1 AND day = $2 AND run = $3 AND resolution = 'repaired'";
        self.db.reader().rows(sql, key(of)).await?.first().map_or(Ok(0), |row| row.get("n"))
    }

    /// Up to `limit` lines that WeChat was asked about and that are not in the books, those first that were asked about
    /// the longest ago.
    pub async fn waiting_lines(&self, of: &Reconciliation, limit: u64) -> Result<Vec<Line>, DbError> {
        self.open_lines(of, &format!("NOT {IN_BOOKS}"), limit).await
    }

    /// Up to `limit` open lines that WeChat was asked about and whose money is in the books as the bill has it.
    pub async fn settled_lines(&self, of: &Reconciliation, limit: u64) -> Result<Vec<Line>, DbError> {
        self.open_lines(of, AS_BILLED, limit).await
    }

    async fn open_lines(&self, of: &Reconciliation, only: &str, limit: u64) -> Result<Vec<Line>, DbError> {
        let sql = format!(
            "SELECT {LINE_COLUMNS} FROM reconciliation_lines AS l
             WHERE l.merchant = $1 AND l.day = $2 AND l.run = $3 AND l.resolution = 'open'
               AND l.asked_at_ms IS NOT NULL AND {only} ORDER BY l.asked_at_ms, l.id LIMIT {limit}"
        );
        self.db.reader().rows(&sql, key(of)).await?.iter().map(line).collect()
    }
}

fn key(of: &Reconciliation) -> [Value; 3] {
    [of.merchant.as_str().into(), of.day.as_str().into(), of.run.into()]
}

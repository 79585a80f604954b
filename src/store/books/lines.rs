//! What the lines of a reconciled day come to, by class.

use crate::store::db::DbError;
use crate::store::writer::Row;
use crate::store::{Reconciliation, Store};

/// The lines of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassSum {
    pub class: String,
    pub lines: i64,
    pub open: i64,
    /// The bill's amounts less ours, in yuan.
    pub explains_fen: i64,
    /// Lines that are of another currency, or of two.
    pub others: i64,
}

impl Store {
    /// The classes of a day's result that have lines.
    pub async fn class_sums(&self, of: &Reconciliation) -> Result<Vec<ClassSum>, DbError> {
        let own = "COALESCE(bill_currency, ledger_currency)";
        let sql = format!(
            "SELECT class, COUNT(*) AS n,
                    CAST(SUM(CASE WHEN {own} IN ('CNY', '') THEN explains_fen ELSE 0 END
                       + CASE WHEN ledger_currency = 'CNY' THEN COALESCE(explains_ours_fen, 0) ELSE 0 END) AS BIGINT)
                      AS fen,
                    CAST(SUM(CASE WHEN {own} NOT IN ('CNY', '') OR explains_ours_fen IS NOT NULL THEN 1 ELSE 0 END)
                      AS BIGINT) AS others,
                    CAST(SUM(CASE WHEN resolution = 'open' THEN 1 ELSE 0 END) AS BIGINT) AS open
             FROM reconciliation_lines WHERE merchant = $1 AND day = $2 AND run = $3
             GROUP BY class ORDER BY class"
        );
        let values = [of.merchant.as_str().into(), of.day.as_str().into(), of.run.into()];
        let sum = |row: &Row| {
            Ok(ClassSum {
                class: row.get("class")?,
                lines: row.get("n")?,
                open: row.get("open")?,
                explains_fen: row.get("fen")?,
                others: row.get("others")?,
            })
        };
        self.db.reader().rows(&sql, values).await?.iter().map(sum).collect()
    }
}

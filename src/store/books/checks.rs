//! The results of comparing the books, by merchant and day.

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::books::reader::BooksReader;
use crate::store::db::DbError;

/// The result of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookCheck {
    pub merchant: MerchantKey,
    /// `2026-11-27`, a day in Beijing.
    pub day: String,
    pub checked_at: Timestamp,
    /// Rows of the ledgers that were compared.
    pub rows: i64,
    /// What does not agree, also where not all of it is kept.
    pub findings: i64,
    /// The first of them, as JSON.
    pub found: String,
}

impl Store {
    /// Replaces the result of a day.
    pub async fn keep_book_check(&self, check: &BookCheck) -> Result<(), DbError> {
        let sql = "INSERT INTO book_checks (merchant, day, checked_at_ms, rows_checked, findings, found)
                   VALUES ($1, $2, $3, $4, $5, $6)
                   ON CONFLICT (merchant, day) DO UPDATE SET checked_at_ms = excluded.checked_at_ms,
                     rows_checked = excluded.rows_checked, findings = excluded.findings, found = excluded.found";
        let values = [
            check.merchant.as_str().into(),
            check.day.as_str().into(),
            check.checked_at.as_ms().into(),
            check.rows.into(),
            check.findings.into(),
            check.found.as_str().into(),
        ];
        self.db.execute("books.check", sql, values).await?;
        Ok(())
    }
}

impl BooksReader {
    /// The last day that was compared.
    pub async fn last_checked(&self, merchant: &MerchantKey) -> Result<Option<String>, DbError> {
        let sql = "SELECT MAX(day) AS day FROM book_checks WHERE merchant = $1";
        let rows = self.reader().rows(sql, [merchant.as_str().into()]).await?;
        Ok(rows.first().map(|row| row.get::<Option<String>>("day")).transpose()?.flatten())
    }

    /// The newest days whose books did not agree, newest first.
    pub async fn open_checks(&self, merchant: &MerchantKey, limit: u32) -> Result<Vec<BookCheck>, DbError> {
        let sql = "SELECT day, checked_at_ms, rows_checked, findings, found FROM book_checks
                   WHERE merchant = $1 AND findings > 0 ORDER BY day DESC LIMIT $2";
        let rows = self.reader().rows(sql, [merchant.as_str().into(), i64::from(limit).into()]).await?;
        let check = |row: &crate::store::writer::Row| {
            Ok(BookCheck {
                merchant: merchant.clone(),
                day: row.get("day")?,
                checked_at: Timestamp::from_ms(row.get("checked_at_ms")?),
                rows: row.get("rows_checked")?,
                findings: row.get("findings")?,
                found: row.get("found")?,
            })
        };
        rows.iter().map(check).collect()
    }

    /// How much of all days does not agree.
    pub async fn open_findings(&self, merchant: &MerchantKey) -> Result<i64, DbError> {
        let sql = "SELECT CAST(COALESCE(SUM(findings), 0) AS BIGINT) AS n FROM book_checks
                   WHERE merchant = $1 AND findings > 0";
        let rows = self.reader().rows(sql, [merchant.as_str().into()]).await?;
        rows.first().map_or(Ok(0), |row| row.get("n"))
    }
}

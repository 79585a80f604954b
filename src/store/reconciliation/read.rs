//! Reads of results and their lines.

use sea_orm::Value;

use super::lines::RunKey;
use super::types::{DAY_COLUMNS, IS_MIXED, IS_RED, LINE_COLUMNS, Line, Reconciliation, line, reconciliation};
use crate::ids::MerchantKey;
use crate::reconciliation::LineClass;
use crate::store::Store;
use crate::store::books::rows::BookRange;
use crate::store::db::{DbError, placeholders};
use crate::store::ops::filter::Conditions;

/// Which days are listed, the newest first; what is not set does not restrict.
#[derive(Debug, Clone, Default)]
pub struct DayFilter {
    /// Of these merchants.
    pub merchants: Option<Vec<MerchantKey>>,
    /// From this day on.
    pub from: Option<String>,
    /// Up to this day, itself included.
    pub to: Option<String>,
    /// Those alone that are red.
    pub is_red: bool,
}

/// Whether our books have the payment, or the refund that has ended, of a line `l` on this day.
const OF_OUR_DAY: &str = "
(CASE WHEN l.kind = 'payment'
 THEN EXISTS (SELECT 1 FROM payments AS p WHERE p.merchant = l.merchant AND p.transaction_id = l.transaction_id
                AND p.paid_at_ms >= $6 AND p.paid_at_ms < $7)
 ELSE EXISTS (SELECT 1 FROM refunds AS r
              JOIN refund_ledger AS g ON g.merchant = r.merchant AND g.refund_no = r.refund_no
              WHERE r.merchant = l.merchant AND r.refund_no = l.refund_no
                AND COALESCE(r.accepted_at_ms, r.created_at_ms) >= $6
                AND COALESCE(r.accepted_at_ms, r.created_at_ms) < $7) END)";

fn days(only: &str) -> String {
    let is_mixed = format!("CAST(CASE WHEN {IS_MIXED} THEN 1 ELSE 0 END AS BIGINT) AS is_mixed");
    format!("SELECT {DAY_COLUMNS}, {is_mixed} FROM reconciliations WHERE {only}")
}

impl Store {
    /// A day of a merchant.
    pub async fn reconciliation(&self, merchant: &MerchantKey, day: &str) -> Result<Option<Reconciliation>, DbError> {
        let rows =
            self.db.reader().rows(&days("merchant = $1 AND day = $2"), [merchant.as_str().into(), day.into()]).await?;
        rows.first().map(reconciliation).transpose()
    }

    /// Up to `limit` days behind `after`, a day and a merchant: the newest day first, its merchants by name.
    pub async fn reconciliations(
        &self,
        filter: &DayFilter,
        after: Option<(&str, &str)>,
        limit: u64,
    ) -> Result<Vec<Reconciliation>, DbError> {
        let mut only = Conditions::default();
        only.merchants("merchant", filter.merchants.as_deref());
        only.add_option("day >= {}", filter.from.as_deref());
        only.add_option("day <= {}", filter.to.as_deref());
        if filter.is_red {
            only.plain(IS_RED);
        }
        if let Some((day, merchant)) = after {
            let (day, merchant) = (only.value(day), only.value(merchant));
            only.plain(&format!("(day < {day} OR (day = {day} AND merchant > {merchant}))"));
        }
        let sql = days(&format!("{} ORDER BY day DESC, merchant LIMIT {limit}", only.text()));
        self.db.reader().rows(&sql, only.values()).await?.iter().map(reconciliation).collect()
    }

    /// Up to `limit` lines of a day's result behind the line `after`, of this class or of all.
    pub async fn reconciliation_lines(
        &self,
        of: &Reconciliation,
        class: Option<LineClass>,
        after: Option<i64>,
        limit: u64,
    ) -> Result<Vec<Line>, DbError> {
        let mut only = Conditions::default();
        only.add("merchant = {}", of.merchant.as_str());
        only.add("day = {}", of.day.as_str());
        only.add("run = {}", of.run);
        only.add_option("class = {}", class.map(LineClass::as_str));
        only.add_option("id > {}", after);
        let sql =
            format!("SELECT {LINE_COLUMNS} FROM reconciliation_lines WHERE {} ORDER BY id LIMIT {limit}", only.text());
        self.db.reader().rows(&sql, only.values()).await?.iter().map(line).collect()
    }

    /// Up to `limit` lines of a day's result behind the line `after` with what was booked as their fee.
    pub async fn booked_lines(&self, of: &Reconciliation, after: i64, limit: u64) -> Result<Vec<Line>, DbError> {
        let sql = format!(
            "SELECT {LINE_COLUMNS} FROM reconciliation_lines
             WHERE merchant = $1 AND day = $2 AND run = $3 AND id > $4 AND booked_fee IS NOT NULL
             ORDER BY id LIMIT {limit}"
        );
        let values = [of.merchant.as_str().into(), of.day.as_str().into(), of.run.into(), after.into()];
        self.db.reader().rows(&sql, values).await?.iter().map(line).collect()
    }

    /// Up to `limit` lines of a day's result about our own rows of that day.
    pub async fn lines_of_ours(&self, of: &Reconciliation, limit: u64) -> Result<Vec<Line>, DbError> {
        let sql = format!(
            "SELECT {LINE_COLUMNS} FROM reconciliation_lines
             WHERE merchant = $1 AND day = $2 AND run = $3 AND class <> 'duplicate' AND ledger_fen IS NOT NULL
               AND (bill_fen IS NULL OR other_day IS NULL)
             LIMIT {limit}"
        );
        let values = [of.merchant.as_str().into(), of.day.as_str().into(), of.run.into()];
        self.db.reader().rows(&sql, values).await?.iter().map(line).collect()
    }

    /// Up to `limit` lines of a class behind the line `after` with a row of the bill that is none of the rows of our
    /// books of the same day, which is `range`.
    pub async fn lines_of_bill(
        &self,
        (of, class): (&Reconciliation, &str),
        range: &BookRange,
        after: i64,
        limit: u64,
    ) -> Result<Vec<Line>, DbError> {
        let sql = format!(
            "SELECT {LINE_COLUMNS} FROM reconciliation_lines AS l
             WHERE l.merchant = $1 AND l.day = $2 AND l.run = $3 AND l.class = $4 AND l.id > $5
               AND l.bill_fen IS NOT NULL AND (l.class = 'duplicate' OR NOT {OF_OUR_DAY})
             ORDER BY l.id LIMIT {limit}"
        );
        let values = [
            of.merchant.as_str().into(),
            of.day.as_str().into(),
            of.run.into(),
            class.into(),
            after.into(),
            range.from.as_ms().into(),
            range.to.as_ms().into(),
        ];
        self.db.reader().rows(&sql, values).await?.iter().map(line).collect()
    }

    /// These lines of a run, which need not be the day's result.
    pub async fn lines_of_run(&self, run: &RunKey, ids: &[i64]) -> Result<Vec<Line>, DbError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {LINE_COLUMNS} FROM reconciliation_lines
             WHERE merchant = $1 AND day = $2 AND run = $3 AND id IN {} ORDER BY id",
            placeholders(1, ids.len(), 3)
        );
        let mut values = vec![run.merchant.as_str().into(), run.day.as_str().into(), run.run.into()];
        values.extend(ids.iter().map(|id| Value::from(*id)));
        self.db.reader().rows(&sql, values).await?.iter().map(line).collect()
    }

    /// A line of a day's result.
    pub async fn reconciliation_line(&self, of: &Reconciliation, id: i64) -> Result<Option<Line>, DbError> {
        let sql = format!(
            "SELECT {LINE_COLUMNS} FROM reconciliation_lines WHERE merchant = $1 AND day = $2 AND run = $3 AND id = $4"
        );
        let values = [of.merchant.as_str().into(), of.day.as_str().into(), of.run.into(), id.into()];
        self.db.reader().rows(&sql, values).await?.first().map(line).transpose()
    }

    /// How many lines are open, by class, over all days.
    pub async fn open_mismatches(&self) -> Result<Vec<(String, i64)>, DbError> {
        let sql = "SELECT l.class AS class, COUNT(*) AS n FROM reconciliations AS r
                   JOIN reconciliation_lines AS l ON l.merchant = r.merchant AND l.day = r.day AND l.run = r.run
                   WHERE r.open_lines > 0 AND l.resolution = 'open' GROUP BY l.class";
        let rows = self.db.reader().rows(sql, []).await?;
        rows.iter().map(|row| Ok((row.get("class")?, row.get("n")?))).collect()
    }

    /// How many days are red, by merchant.
    pub async fn red_days(&self) -> Result<Vec<(String, i64)>, DbError> {
        let sql = format!("SELECT merchant, COUNT(*) AS n FROM reconciliations WHERE {IS_RED} GROUP BY merchant");
        let rows = self.db.reader().rows(&sql, []).await?;
        rows.iter().map(|row| Ok((row.get("merchant")?, row.get("n")?))).collect()
    }
}

//! Rows of both ledgers as one list.
//!
//! What must stay true: a row is found under the time of its recording, which never changes; what was recorded before
//! is the same for every later reader, except for rows whose transaction has not ended yet.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sea_orm::Value;

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::writer::Row;

/// Rows that are grouped at once.
const SLICE: u32 = 20_000;

/// A row's place: first by time, then payments before refunds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BookKey {
    /// When it was recorded.
    pub at: Timestamp,
    pub is_refund: bool,
    /// The number of its row in its own table.
    pub id: i64,
}

/// What a list is of: recorded at or after `from` and before `to`.
#[derive(Debug, Clone)]
pub struct BookRange {
    pub merchant: MerchantKey,
    pub from: Timestamp,
    pub to: Timestamp,
}

/// A payment that entered, a change of its class, or a refund that succeeded.
#[derive(Debug, Clone)]
pub struct BookRow {
    pub key: BookKey,
    /// When it happened: for money, WeChat's time.
    pub occurred_at: Timestamp,
    /// Where WeChat's bill has it: a refund at its acceptance, everything else as `occurred_at`.
    pub billed_at: Timestamp,
    /// `payment`, `matched`, `accepted`, `returned` or `refund`.
    pub entry: String,
    /// The payment's class before, where the row changes it.
    pub from_class: Option<String>,
    /// The payment's class after it.
    pub class: String,
    pub reason: Option<String>,
    pub order_no: Option<String>,
    pub out_trade_no: String,
    pub transaction_id: String,
    pub refund_no: Option<String>,
    pub refund_id: Option<String>,
    pub amount_fen: i64,
    /// What it does to the balance.
    pub change_fen: i64,
    pub currency: String,
    /// Source and id of the evidence.
    pub evidence: Option<String>,
    /// The API key whose request it was.
    pub done_by: Option<String>,
}

/// Rows of one kind in a range, summed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookSum {
    pub currency: String,
    pub entry: String,
    pub from_class: Option<String>,
    pub class: String,
    pub rows: i64,
    pub amount_fen: i64,
    pub change_fen: i64,
}

impl Store {
    /// Up to `limit` rows behind `after`, oldest first.
    pub async fn book_rows(
        &self,
        range: &BookRange,
        after: Option<BookKey>,
        limit: u64,
    ) -> Result<Vec<BookRow>, DbError> {
        let (sql, values) = book_page_statement(range, after, limit);
        self.db.reader().rows(&sql, values).await?.iter().map(book_row).collect()
    }

    /// What the rows of a range come to, by currency, entry and class.
    pub async fn book_sums(&self, range: &BookRange) -> Result<Vec<BookSum>, DbError> {
        let mut sums: BTreeMap<(String, String, Option<String>, String), BookSum> = BTreeMap::new();
        let mut slice = range.clone();
        while slice.from < range.to {
            slice.to = self.end_of_slice(&slice.merchant, slice.from, range.to).await?;
            for sum in self.sums_of_slice(&slice).await? {
                let key = (sum.currency.clone(), sum.entry.clone(), sum.from_class.clone(), sum.class.clone());
                match sums.entry(key) {
                    Entry::Vacant(place) => drop(place.insert(sum)),
                    Entry::Occupied(mut of) => {
                        let of = of.get_mut();
                        of.rows += sum.rows;
                        of.amount_fen += sum.amount_fen;
                        of.change_fen += sum.change_fen;
                    }
                }
            }
            slice.from = slice.to;
        }
        Ok(sums.into_values().collect())
    }

    /// Where about so many rows of the range end: SQLite sorts in memory what it groups.
    pub(super) async fn end_of_slice(
        &self,
        merchant: &MerchantKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Timestamp, DbError> {
        let of = |table: &str| {
            format!(
                "SELECT recorded_at_ms FROM (
                   SELECT recorded_at_ms FROM {table}
                   WHERE merchant = $1 AND recorded_at_ms > $2 AND recorded_at_ms < $3
                   ORDER BY recorded_at_ms LIMIT 1 OFFSET {SLICE}) AS {table}_slice"
            )
        };
        let sql = format!(
            "SELECT MIN(recorded_at_ms) AS at_ms FROM ({} UNION ALL {}) AS ends",
            of("ledger"),
            of("refund_ledger")
        );
        let values = [merchant.as_str().into(), from.as_ms().into(), to.as_ms().into()];
        let rows = self.db.reader().rows(&sql, values).await?;
        let end = rows.first().map(|row| row.get::<Option<i64>>("at_ms")).transpose()?.flatten();
        Ok(end.map_or(to, Timestamp::from_ms))
    }

    async fn sums_of_slice(&self, range: &BookRange) -> Result<Vec<BookSum>, DbError> {
        let only = "merchant = $1 AND recorded_at_ms >= $2 AND recorded_at_ms < $3";
        let (ledger, refunds) = (LEDGER.replace("{only}", only), REFUNDS.replace("{only}", only));
        let sql = format!(
            "SELECT currency, entry, from_class, class, COUNT(*) AS n, CAST(SUM(amount_fen) AS BIGINT) AS amount_fen,
                    CAST(SUM(change_fen) AS BIGINT) AS change_fen
             FROM ({ledger} UNION ALL {refunds}) AS b GROUP BY currency, entry, from_class, class"
        );
        let values = [range.merchant.as_str().into(), range.from.as_ms().into(), range.to.as_ms().into()];
        self.db.reader().rows(&sql, values).await?.iter().map(book_sum).collect()
    }
}

// A row of the version before names no class: it is what the next change took it from, or what the payment is.
const LEDGER: &str = "
SELECT l.recorded_at_ms AS at_ms, CAST(0 AS BIGINT) AS source, l.id AS id, l.occurred_at_ms AS occurred_at_ms,
       l.occurred_at_ms AS billed_at_ms, l.entry AS entry, l.from_class AS from_class,
       COALESCE(l.to_class,
         (SELECT n.from_class FROM ledger AS n WHERE n.merchant = l.merchant AND n.entry IN ('accepted', 'returned')
            AND n.transaction_id = l.transaction_id ORDER BY n.id LIMIT 1),
         (SELECT p.class FROM payments AS p WHERE p.merchant = l.merchant AND p.transaction_id = l.transaction_id),
         'credited') AS class,
       l.reason AS reason, l.order_no AS order_no, l.out_trade_no AS out_trade_no,
       l.transaction_id AS transaction_id, CAST(NULL AS TEXT) AS refund_no, CAST(NULL AS TEXT) AS refund_id,
       l.amount_fen AS amount_fen, CASE WHEN l.entry = 'payment' THEN l.amount_fen ELSE 0 END AS change_fen,
       l.currency AS currency,
       COALESCE(l.evidence, (SELECT e.source || ':' || e.source_id FROM evidence AS e
                             WHERE e.order_id = l.order_id AND e.version = l.order_version)) AS evidence,
       l.done_by AS done_by
FROM (SELECT * FROM ledger WHERE {only}) AS l";

// The class that the payment had then: one that is returned was given back by the refunds before.
const REFUNDS: &str = "
SELECT r.recorded_at_ms AS at_ms, CAST(1 AS BIGINT) AS source, r.id AS id, r.occurred_at_ms AS occurred_at_ms,
       (SELECT COALESCE(f.accepted_at_ms, f.created_at_ms) FROM refunds AS f
          WHERE f.merchant = r.merchant AND f.refund_no = r.refund_no) AS billed_at_ms,
       'refund' AS entry, CAST(NULL AS TEXT) AS from_class,
       COALESCE(
         (SELECT n.to_class FROM ledger AS n WHERE n.merchant = r.merchant
            AND n.entry IN ('payment', 'matched', 'accepted') AND n.transaction_id = r.transaction_id
            AND n.recorded_at_ms <= r.recorded_at_ms ORDER BY n.id DESC LIMIT 1),
         (SELECT n.from_class FROM ledger AS n WHERE n.merchant = r.merchant AND n.entry IN ('accepted', 'returned')
            AND n.transaction_id = r.transaction_id ORDER BY n.id LIMIT 1),
         (SELECT p.class FROM payments AS p WHERE p.merchant = r.merchant AND p.transaction_id = r.transaction_id),
         'credited') AS class,
       CAST(NULL AS TEXT) AS reason, r.order_no AS order_no, r.out_trade_no AS out_trade_no,
       r.transaction_id AS transaction_id, r.refund_no AS refund_no, r.refund_id AS refund_id,
       r.amount_fen AS amount_fen, -r.amount_fen AS change_fen, r.currency AS currency,
       (SELECT e.source || ':' || e.source_id FROM refund_evidence AS e
          WHERE e.refund = r.refund AND e.version = r.refund_version) AS evidence,
       CAST(NULL AS TEXT) AS done_by
FROM (SELECT * FROM refund_ledger WHERE {only}) AS r";

/// The statement of a page, and its values: each table is read in the order of its index and no further than the page.
#[doc(hidden)]
pub fn book_page_statement(range: &BookRange, after: Option<BookKey>, limit: u64) -> (String, Vec<Value>) {
    // Behind which row of each table, among those of the moment where the page begins.
    let (ledger, refunds) = match after {
        None => (0, 0),
        Some(BookKey { is_refund: false, id, .. }) => (id, 0),
        Some(BookKey { is_refund: true, id, .. }) => (i64::MAX, id),
    };
    let begin = after.map_or(range.from, |after| after.at.max(range.from));
    let page = |rows: &str, behind: &str| {
        let only = format!(
            "merchant = $1 AND recorded_at_ms >= $2 AND recorded_at_ms < $3 AND (recorded_at_ms > $2 OR id > {behind})
             ORDER BY recorded_at_ms, id LIMIT {limit}"
        );
        rows.replace("{only}", &only)
    };
    let sql = format!(
        "SELECT * FROM ({} UNION ALL {}) AS b ORDER BY at_ms, source, id LIMIT {limit}",
        page(LEDGER, "$4"),
        page(REFUNDS, "$5")
    );
    let values = [range.merchant.as_str().into(), begin.as_ms().into(), range.to.as_ms().into()];
    (sql, values.into_iter().chain([ledger.into(), refunds.into()]).collect())
}

fn book_row(row: &Row) -> Result<BookRow, DbError> {
    Ok(BookRow {
        key: BookKey {
            at: Timestamp::from_ms(row.get("at_ms")?),
            is_refund: row.get::<i64>("source")? == 1,
            id: row.get("id")?,
        },
        occurred_at: Timestamp::from_ms(row.get("occurred_at_ms")?),
        billed_at: Timestamp::from_ms(row.get("billed_at_ms")?),
        entry: row.get("entry")?,
        from_class: row.get("from_class")?,
        class: row.get("class")?,
        reason: row.get("reason")?,
        order_no: row.get("order_no")?,
        out_trade_no: row.get("out_trade_no")?,
        transaction_id: row.get("transaction_id")?,
        refund_no: row.get("refund_no")?,
        refund_id: row.get("refund_id")?,
        amount_fen: row.get("amount_fen")?,
        change_fen: row.get("change_fen")?,
        currency: row.get("currency")?,
        evidence: row.get("evidence")?,
        done_by: row.get("done_by")?,
    })
}

fn book_sum(row: &Row) -> Result<BookSum, DbError> {
    Ok(BookSum {
        currency: row.get("currency")?,
        entry: row.get("entry")?,
        from_class: row.get("from_class")?,
        class: row.get("class")?,
        rows: row.get("n")?,
        amount_fen: row.get("amount_fen")?,
        change_fen: row.get("change_fen")?,
    })
}

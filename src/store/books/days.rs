//! What the books have of each day, by WeChat's time, and what was recorded after its month was closed.
//!
//! What must stay true: both go by the same time, which for a refund is that of its acceptance. So each row counts
//! once: in the figures of its day's month, or beside those of a later one.

use std::collections::BTreeMap;

use sea_orm::Value;

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::books::currencies::sums_by_currency;
use crate::store::db::DbError;
use crate::store::writer::Row;

/// The sums of a day in one currency: what was paid, and what went back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DaySums {
    pub payments: i64,
    pub payments_fen: i64,
    pub refunds: i64,
    pub refunds_fen: i64,
}

/// A month that is closed. What is recorded about it from `cut_at` on counts where it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedRange {
    pub begins_at: Timestamp,
    pub ends_at: Timestamp,
    pub cut_at: Timestamp,
}

/// A row of a ledger about a day of a month that was closed before it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateRow {
    /// Where WeChat's bill has it: a payment at its time, a refund at its acceptance.
    pub billed_at: Timestamp,
    pub recorded_at: Timestamp,
    pub is_refund: bool,
    pub order_no: Option<String>,
    /// WeChat's number of the payment, or ours of the refund.
    pub number: String,
    pub amount_fen: i64,
    pub currency: String,
}

impl Store {
    /// The sums of the days of a range that have any, by currency, as far as they were recorded before
    /// `recorded_before`.
    pub async fn sums_by_day(
        &self,
        merchant: &MerchantKey,
        (from, to): (Timestamp, Timestamp),
        recorded_before: Timestamp,
    ) -> Result<BTreeMap<String, BTreeMap<String, DaySums>>, DbError> {
        let mut days = BTreeMap::<String, BTreeMap<String, DaySums>>::new();
        let reader = self.db.reader();
        let mut begin = from;
        while begin < to {
            let end = begin.next_beijing_midnight().min(to);
            let day = begin.to_beijing_day();
            let limits = [begin.as_ms(), end.as_ms(), recorded_before.as_ms()].map(Into::into);
            let values: Vec<Value> = [merchant.as_str().into()].into_iter().chain(limits).collect();
            for (currency, n, fen) in sums_by_currency(reader, PAYMENTS, values.clone()).await? {
                let sums = days.entry(day.clone()).or_default().entry(currency).or_default();
                (sums.payments, sums.payments_fen) = (n, fen);
            }
            for (currency, n, fen) in sums_by_currency(reader, REFUNDS, values).await? {
                let sums = days.entry(day.clone()).or_default().entry(currency).or_default();
                (sums.refunds, sums.refunds_fen) = (n, fen);
            }
            begin = end;
        }
        Ok(days)
    }

    /// Money that was recorded in a range about months that were closed before, oldest first: up to `limit` rows behind
    /// the row `after`.
    pub async fn late_rows(
        &self,
        merchant: &MerchantKey,
        (from, to): (Timestamp, Timestamp),
        closed: Vec<ClosedRange>,
        (after, limit): (Option<&LateRow>, u32),
    ) -> Result<Vec<LateRow>, DbError> {
        let is_late = |range: &ClosedRange| {
            let [begins, ends, cut] = [range.begins_at, range.ends_at, range.cut_at].map(Timestamp::as_ms);
            format!("billed_at_ms >= {begins} AND billed_at_ms < {ends} AND recorded_at_ms >= {cut}")
        };
        let late: Vec<String> = late_ranges(closed, from).iter().map(is_late).collect();
        if late.is_empty() {
            return Ok(Vec::new());
        }
        let late = late.join(" OR ");
        let mut values: Vec<Value> = vec![merchant.as_str().into(), from.as_ms().into(), to.as_ms().into()];
        let behind = after.map_or(String::new(), |row| {
            values.push(row.number.as_str().into());
            let (recorded, is_refund) = (row.recorded_at.as_ms(), i32::from(row.is_refund));
            format!("AND (recorded_at_ms, is_refund, number) > ({recorded}, {is_refund}, $4)")
        });
        let sql = format!(
            "SELECT * FROM ({LATE}) AS l WHERE ({late}) {behind}
             ORDER BY recorded_at_ms, is_refund, number LIMIT {limit}"
        );
        let late = |row: &Row| {
            Ok(LateRow {
                billed_at: Timestamp::from_ms(row.get("billed_at_ms")?),
                recorded_at: Timestamp::from_ms(row.get("recorded_at_ms")?),
                is_refund: row.get::<i64>("is_refund")? == 1,
                order_no: row.get("order_no")?,
                number: row.get("number")?,
                amount_fen: row.get("amount_fen")?,
                currency: row.get("currency")?,
            })
        };
        self.db.reader().rows(&sql, values).await?.iter().map(late).collect()
    }
}

/// The closed months before a range, neighbours as one where the same rows are late: nearly always all but the last.
fn late_ranges(mut closed: Vec<ClosedRange>, from: Timestamp) -> Vec<ClosedRange> {
    closed.retain(|month| month.begins_at < from);
    closed.sort_by_key(|month| month.begins_at);
    let mut ranges = Vec::<ClosedRange>::new();
    for month in closed {
        let cut_at = month.cut_at.max(from);
        match ranges.last_mut() {
            Some(last) if last.ends_at == month.begins_at && last.cut_at == cut_at => last.ends_at = month.ends_at,
            Some(_) | None => ranges.push(ClosedRange { cut_at, ..month }),
        }
    }
    ranges
}

/// Of the class of a payment nothing is said here: WeChat has the money of every class.
const PAYMENTS: &str = "payments WHERE merchant = $1 AND paid_at_ms >= $2 AND paid_at_ms < $3 AND recorded_at_ms < $4";

// As WeChat's bill has them: on the day of their acceptance.
const REFUNDS: &str = "
(SELECT l.amount_fen AS amount_fen, l.currency AS currency FROM refunds AS r
 JOIN refund_ledger AS l ON l.merchant = r.merchant AND l.refund_no = r.refund_no
 WHERE r.merchant = $1 AND COALESCE(r.accepted_at_ms, r.created_at_ms) >= $2
   AND COALESCE(r.accepted_at_ms, r.created_at_ms) < $3 AND l.recorded_at_ms < $4) AS p WHERE amount_fen > 0";

// The time of a refund is read per row of the ledger, so that its index over the times of recording leads.
const LATE: &str = "
SELECT occurred_at_ms AS billed_at_ms, recorded_at_ms, CAST(0 AS BIGINT) AS is_refund, order_no,
       transaction_id AS number, amount_fen, currency
FROM ledger WHERE merchant = $1 AND recorded_at_ms >= $2 AND recorded_at_ms < $3 AND entry = 'payment'
  AND occurred_at_ms < $2
UNION ALL
SELECT (SELECT COALESCE(f.accepted_at_ms, f.created_at_ms) FROM refunds AS f
          WHERE f.merchant = r.merchant AND f.refund_no = r.refund_no) AS billed_at_ms,
       recorded_at_ms, CAST(1 AS BIGINT) AS is_refund, order_no, refund_no AS number, amount_fen, currency
FROM refund_ledger AS r WHERE merchant = $1 AND recorded_at_ms >= $2 AND recorded_at_ms < $3";

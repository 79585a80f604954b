//! What the books have of each day, by WeChat's time, and what was recorded after its month was closed.

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

/// A row of a ledger about an earlier day than those of the month of its recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateRow {
    pub occurred_at: Timestamp,
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

    /// Money that was recorded in a range and was taken or given back before it, oldest first.
    pub async fn late_rows(
        &self,
        merchant: &MerchantKey,
        (from, to): (Timestamp, Timestamp),
        limit: u32,
    ) -> Result<Vec<LateRow>, DbError> {
        let sql = format!("{LATE} ORDER BY recorded_at_ms, number LIMIT {limit}");
        let values = [merchant.as_str().into(), from.as_ms().into(), to.as_ms().into()];
        let late = |row: &Row| {
            Ok(LateRow {
                occurred_at: Timestamp::from_ms(row.get("occurred_at_ms")?),
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

/// Of the class of a payment nothing is said here: WeChat has the money of every class.
const PAYMENTS: &str = "payments WHERE merchant = $1 AND paid_at_ms >= $2 AND paid_at_ms < $3 AND recorded_at_ms < $4";

// As WeChat's bill has them: on the day of their acceptance.
const REFUNDS: &str = "
(SELECT l.amount_fen AS amount_fen, l.currency AS currency FROM refunds AS r
 JOIN refund_ledger AS l ON l.merchant = r.merchant AND l.refund_no = r.refund_no
 WHERE r.merchant = $1 AND COALESCE(r.accepted_at_ms, r.created_at_ms) >= $2
   AND COALESCE(r.accepted_at_ms, r.created_at_ms) < $3 AND l.recorded_at_ms < $4) AS p WHERE amount_fen > 0";

const LATE: &str = "
SELECT occurred_at_ms, recorded_at_ms, CAST(0 AS BIGINT) AS is_refund, order_no, transaction_id AS number, amount_fen,
       currency
FROM ledger WHERE merchant = $1 AND recorded_at_ms >= $2 AND recorded_at_ms < $3 AND entry = 'payment'
  AND occurred_at_ms < $2
UNION ALL
SELECT occurred_at_ms, recorded_at_ms, CAST(1 AS BIGINT) AS is_refund, order_no, refund_no AS number, amount_fen,
       currency
FROM refund_ledger WHERE merchant = $1 AND recorded_at_ms >= $2 AND recorded_at_ms < $3 AND occurred_at_ms < $2";

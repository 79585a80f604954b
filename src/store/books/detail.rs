//! The lines of a day by WeChat's time, with what the business said of each order.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::rows::BookRange;
use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::entity::order;
use crate::store::packed::rows::{defect, read_order};
use crate::store::writer::Row;

/// A payment or a refund of a day.
#[derive(Debug, Clone)]
pub struct DetailRow {
    pub at: Timestamp,
    pub is_refund: bool,
    /// The number of its row, which orders lines of one moment.
    pub id: i64,
    pub order_id: Option<i64>,
    pub out_trade_no: String,
    pub transaction_id: String,
    pub refund_no: Option<String>,
    pub amount_fen: i64,
    pub currency: String,
    /// The payment's class, and why it is that.
    pub class: Option<String>,
    pub reason: Option<String>,
    pub recorded_at: Timestamp,
    /// What the business wanted paid, as JSON.
    pub content: Option<String>,
}

/// A place in the lines of a day: time, refunds behind payments, the number of the row.
pub type DetailPlace = (Timestamp, bool, i64);

impl Store {
    /// The next lines behind a place, oldest first.
    pub async fn detail_rows(
        &self,
        range: &BookRange,
        after: Option<DetailPlace>,
        limit: u32,
    ) -> Result<Vec<DetailRow>, DbError> {
        let (at, payments, refunds) = match after {
            None => (range.from, 0, 0),
            Some((at, false, id)) => (at, id, 0),
            Some((at, true, id)) => (at, i64::MAX, id),
        };
        let values = [
            range.merchant.as_str().into(),
            at.as_ms().into(),
            range.to.as_ms().into(),
            payments.into(),
            refunds.into(),
        ];
        let sql = DETAIL.replace("{limit}", &limit.to_string());
        let rows = self.db.reader().rows(&sql, values).await?;
        let mut rows = rows.iter().map(detail_row).collect::<Result<Vec<_>, _>>()?;
        let mut ids: Vec<i64> = rows.iter().filter_map(|row| row.order_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let find = order::Entity::find().filter(order::Column::Id.is_in(ids));
        for found in self.db.reader().all(find).await? {
            let content = read_order(&found).map_err(|e| defect("orders", found.id, e))?;
            for row in rows.iter_mut().filter(|row| row.order_id == Some(found.id)) {
                row.content = Some(content.clone());
            }
        }
        Ok(rows)
    }
}

const DETAIL: &str = "
SELECT * FROM (
  SELECT * FROM (
    SELECT p.paid_at_ms AS at_ms, CAST(0 AS BIGINT) AS is_refund, p.id AS id, p.order_id AS order_id,
           p.out_trade_no AS out_trade_no, p.transaction_id AS transaction_id, CAST(NULL AS TEXT) AS refund_no,
           p.amount_fen AS amount_fen, p.currency AS currency, p.class AS class, p.reason AS reason,
           p.recorded_at_ms AS recorded_at_ms
    FROM payments AS p
    WHERE p.merchant = $1 AND p.paid_at_ms >= $2 AND p.paid_at_ms < $3 AND (p.paid_at_ms > $2 OR p.id > $4)
    ORDER BY p.paid_at_ms, p.id LIMIT {limit}) AS payments_page
  UNION ALL
  SELECT * FROM (
    SELECT COALESCE(r.accepted_at_ms, r.created_at_ms) AS at_ms, CAST(1 AS BIGINT) AS is_refund, r.id AS id,
           r.order_id AS order_id,
           r.out_trade_no AS out_trade_no, r.transaction_id AS transaction_id, r.refund_no AS refund_no,
           l.amount_fen AS amount_fen, l.currency AS currency, CAST(NULL AS TEXT) AS class,
           CAST(NULL AS TEXT) AS reason, l.recorded_at_ms AS recorded_at_ms
    FROM refunds AS r JOIN refund_ledger AS l ON l.merchant = r.merchant AND l.refund_no = r.refund_no
    WHERE r.merchant = $1 AND COALESCE(r.accepted_at_ms, r.created_at_ms) >= $2
      AND COALESCE(r.accepted_at_ms, r.created_at_ms) < $3
      AND (COALESCE(r.accepted_at_ms, r.created_at_ms) > $2 OR r.id > $5)
    ORDER BY COALESCE(r.accepted_at_ms, r.created_at_ms), r.id LIMIT {limit}) AS refunds_page) AS lines
ORDER BY at_ms, is_refund, id LIMIT {limit}";

fn detail_row(row: &Row) -> Result<DetailRow, DbError> {
    Ok(DetailRow {
        at: Timestamp::from_ms(row.get("at_ms")?),
        is_refund: row.get::<i64>("is_refund")? == 1,
        id: row.get("id")?,
        order_id: row.get("order_id")?,
        out_trade_no: row.get("out_trade_no")?,
        transaction_id: row.get("transaction_id")?,
        refund_no: row.get("refund_no")?,
        amount_fen: row.get("amount_fen")?,
        currency: row.get("currency")?,
        class: row.get("class")?,
        reason: row.get("reason")?,
        recorded_at: Timestamp::from_ms(row.get("recorded_at_ms")?),
        content: None,
    })
}

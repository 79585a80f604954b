//! Figures of the day, each from a bounded number of rows.

use sea_orm::ConnectionTrait;

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::money::Fen;
use crate::order::PaymentClass;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::order::rows::{broken, unknown};

/// Rows that a sum of the day adds at most: a figure that reaches it is a lower bound.
pub const COUNTED_MAX: i64 = 50_000;
/// Payments whose lag and source are read.
const SAMPLED: i64 = 500;

/// A number of payments and what they come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub count: i64,
    pub amount: Fen,
}

/// A payment as far as its way here is concerned.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub paid_at: Timestamp,
    pub recorded_at: Timestamp,
    /// The kind of evidence that reported it first: `notification`, `query`.
    pub source: Option<String>,
}

impl Store {
    /// The merchant's credited payments in CNY since then.
    pub async fn paid_since(&self, merchant: &MerchantKey, since: Timestamp) -> Result<Sum, DbError> {
        let sql = format!(
            "SELECT COUNT(*) AS count, CAST(COALESCE(SUM(amount_fen), 0) AS BIGINT) AS amount FROM (
               SELECT amount_fen FROM payments
               WHERE merchant = $1 AND paid_at_ms >= $2 AND class = 'credited' AND currency = 'CNY'
               LIMIT {COUNTED_MAX}) AS p"
        );
        let values = [merchant.as_str().into(), since.as_ms().into()];
        let row = self.db.read().query_one_raw(self.db.statement(sql, values)).await?;
        let Some(row) = row else { return Ok(Sum::default()) };
        Ok(Sum { count: row.try_get("", "count")?, amount: Fen::from_i64(row.try_get("", "amount")?) })
    }

    /// The merchant's credited payments in CNY as the ledger has them, by minute since then, counted from 0.
    pub async fn paid_by_minute(&self, merchant: &MerchantKey, since: Timestamp) -> Result<Vec<(i64, Sum)>, DbError> {
        let sql = format!(
            "SELECT minute, COUNT(*) AS count, CAST(SUM(amount_fen) AS BIGINT) AS amount FROM (
               SELECT (p.paid_at_ms - {since}) / 60000 AS minute, l.amount_fen
               FROM payments AS p JOIN ledger AS l
                 ON l.merchant = p.merchant AND l.entry = 'payment' AND l.transaction_id = p.transaction_id
               WHERE p.merchant = $1 AND p.paid_at_ms >= {since} AND p.class = 'credited' AND p.currency = 'CNY'
               ORDER BY p.paid_at_ms DESC LIMIT {COUNTED_MAX}) AS p
             GROUP BY minute",
            since = since.as_ms()
        );
        let rows = self.db.read().query_all_raw(self.db.statement(sql, [merchant.as_str().into()])).await?;
        rows.iter().map(|row| Ok((row.try_get("", "minute")?, sum(row)?))).collect()
    }

    /// How the merchant's last payments became known, the latest first.
    pub async fn last_arrivals(&self, merchant: &MerchantKey) -> Result<Vec<Arrival>, DbError> {
        let sql = format!(
            "SELECT p.paid_at_ms, p.recorded_at_ms,
                    (SELECT l.evidence FROM ledger AS l
                     WHERE l.merchant = p.merchant AND l.entry = 'payment' AND l.transaction_id = p.transaction_id)
                      AS evidence
             FROM payments AS p WHERE p.merchant = $1 ORDER BY p.paid_at_ms DESC LIMIT {SAMPLED}"
        );
        let rows = self.db.read().query_all_raw(self.db.statement(sql, [merchant.as_str().into()])).await?;
        let arrival = |row: &sea_orm::QueryResult| {
            let evidence: Option<String> = row.try_get("", "evidence")?;
            Ok(Arrival {
                paid_at: Timestamp::from_ms(row.try_get("", "paid_at_ms")?),
                recorded_at: Timestamp::from_ms(row.try_get("", "recorded_at_ms")?),
                source: evidence.and_then(|text| text.split_once(':').map(|(source, _)| source.to_owned())),
            })
        };
        rows.iter().map(arrival).collect()
    }

    /// What went back to payers since then, by merchant, among the refunds asked for last.
    pub async fn refunded_since(&self, since: Timestamp) -> Result<Vec<(MerchantKey, Sum)>, DbError> {
        let sql = format!(
            "SELECT merchant, COUNT(*) AS count, CAST(SUM(amount_fen) AS BIGINT) AS amount FROM (
               SELECT merchant, amount_fen, succeeded_at_ms FROM refunds WHERE state = 'succeeded'
               ORDER BY id DESC LIMIT {COUNTED_MAX}) AS r
             WHERE succeeded_at_ms >= $1 GROUP BY merchant ORDER BY merchant"
        );
        let rows = self.db.read().query_all_raw(self.db.statement(sql, [since.as_ms().into()])).await?;
        rows.iter().map(|row| Ok((merchant(row)?, sum(row)?))).collect()
    }

    /// Money that waits for a person, by merchant, class and currency.
    pub async fn waiting_money(&self) -> Result<Vec<(MerchantKey, PaymentClass, String, Sum)>, DbError> {
        let one = |class: &str| {
            format!(
                "SELECT merchant, '{class}' AS class, currency, COUNT(*) AS count,
                        CAST(SUM(amount_fen) AS BIGINT) AS amount
                 FROM (SELECT merchant, currency, amount_fen FROM payments WHERE class = '{class}'
                       ORDER BY id DESC LIMIT {COUNTED_MAX}) AS {class}_payments
                 GROUP BY merchant, currency"
            )
        };
        let sql = format!("{} UNION ALL {} ORDER BY merchant, class, currency", one("held"), one("unmatched"));
        let rows = self.db.read().query_all_raw(self.db.statement(sql, [])).await?;
        let read = |row: &sea_orm::QueryResult| {
            let class: String = row.try_get("", "class")?;
            let class = PaymentClass::parse(&class).ok_or_else(|| unknown("class", &class))?;
            Ok((merchant(row)?, class, row.try_get("", "currency")?, sum(row)?))
        };
        rows.iter().map(read).collect()
    }
}

fn merchant(row: &sea_orm::QueryResult) -> Result<MerchantKey, DbError> {
    MerchantKey::parse(row.try_get::<String>("", "merchant")?).map_err(broken("merchant"))
}

fn sum(row: &sea_orm::QueryResult) -> Result<Sum, DbError> {
    Ok(Sum { count: row.try_get("", "count")?, amount: Fen::from_i64(row.try_get("", "amount")?) })
}

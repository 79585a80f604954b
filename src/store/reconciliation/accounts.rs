//! Our side of a day: payments by WeChat's time of them, refunds by the day on which WeChat accepted them.

use std::collections::{BTreeMap, HashMap};

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::order::OrderState;
use crate::reconciliation::{Ids, LedgerFigures, LedgerItem, LedgerSide, LineKind};
use crate::store::Store;
use crate::store::books::currencies::sums_by_currency;
use crate::store::db::{DbError, placeholders};
use crate::store::writer::Row;

/// A merchant's day: from one midnight to the next.
#[derive(Debug, Clone)]
pub struct DayRange {
    pub merchant: MerchantKey,
    pub from: Timestamp,
    pub to: Timestamp,
}

/// Where a page of payments or refunds begins.
#[derive(Debug, Clone, Copy)]
pub struct DayPlace {
    at_ms: i64,
    id: i64,
}

const PAYMENT: &str = "
SELECT id, transaction_id, out_trade_no, order_no, amount_fen, currency, class AS state, paid_at_ms AS at_ms,
       CAST(1 AS BIGINT) AS is_certain,
       CAST(NULL AS TEXT) AS refund_no, CAST(NULL AS TEXT) AS refund_id
FROM payments";

// A version that knows no time of acceptance leaves it empty: it is shortly after the refund was recorded.
const REFUND: &str = "
SELECT id, transaction_id, out_trade_no, order_no, amount_fen, currency, state,
       COALESCE(accepted_at_ms, created_at_ms) AS at_ms,
       CAST(CASE WHEN accepted_at_ms IS NULL THEN 0 ELSE 1 END AS BIGINT) AS is_certain, refund_no, refund_id
FROM refunds";

impl Store {
    /// Up to `limit` payments of the day behind `after`, in the order of their time.
    pub async fn day_payments(
        &self,
        day: &DayRange,
        after: Option<DayPlace>,
        limit: u64,
    ) -> Result<(Vec<LedgerItem>, Option<DayPlace>), DbError> {
        let sql = format!(
            "{PAYMENT} WHERE merchant = $1 AND paid_at_ms >= $2 AND paid_at_ms < $3
               AND (paid_at_ms > $2 OR id > $4) ORDER BY paid_at_ms, id LIMIT {limit}"
        );
        self.day_page(LineKind::Payment, &sql, day, after).await
    }

    /// Up to `limit` refunds of the day that WeChat took on, behind `after`.
    pub async fn day_refunds(
        &self,
        day: &DayRange,
        after: Option<DayPlace>,
        limit: u64,
    ) -> Result<(Vec<LedgerItem>, Option<DayPlace>), DbError> {
        let at = "COALESCE(accepted_at_ms, created_at_ms)";
        let sql = format!(
            "{REFUND} WHERE merchant = $1 AND {at} >= $2 AND {at} < $3 AND ({at} > $2 OR id > $4)
               AND refund_id IS NOT NULL ORDER BY {at}, id LIMIT {limit}"
        );
        self.day_page(LineKind::Refund, &sql, day, after).await
    }

    async fn day_page(
        &self,
        kind: LineKind,
        sql: &str,
        day: &DayRange,
        after: Option<DayPlace>,
    ) -> Result<(Vec<LedgerItem>, Option<DayPlace>), DbError> {
        let DayPlace { at_ms, id } = after.unwrap_or(DayPlace { at_ms: day.from.as_ms(), id: 0 });
        let values = [day.merchant.as_str().into(), at_ms.into(), day.to.as_ms().into(), id.into()];
        let rows = self.db.reader().rows(sql, values).await?;
        let place = |row: &Row| Ok::<_, DbError>(DayPlace { at_ms: row.get("at_ms")?, id: row.get("id")? });
        let last = rows.last().map(place).transpose()?;
        Ok((rows.iter().map(|row| item(kind, row)).collect::<Result<_, _>>()?, last))
    }

    /// What our books have of the day, summed up by the database: refunds that the payer has. By currency.
    pub async fn day_sums(&self, day: &DayRange) -> Result<BTreeMap<String, LedgerFigures>, DbError> {
        let at = "COALESCE(accepted_at_ms, created_at_ms)";
        let payments = "payments WHERE merchant = $1 AND paid_at_ms >= $2 AND paid_at_ms < $3";
        let refunds = format!(
            "refunds WHERE merchant = $1 AND {at} >= $2 AND {at} < $3 AND refund_id IS NOT NULL AND state = 'succeeded'"
        );
        let reader = self.db.reader();
        let values = vec![day.merchant.as_str().into(), day.from.as_ms().into(), day.to.as_ms().into()];
        let mut sums = BTreeMap::<String, LedgerFigures>::new();
        for (currency, n, fen) in sums_by_currency(reader, payments, values.clone()).await? {
            let of = sums.entry(currency).or_default();
            (of.payments, of.payments_fen) = (n, fen);
        }
        for (currency, n, fen) in sums_by_currency(reader, &refunds, values).await? {
            let of = sums.entry(currency).or_default();
            (of.refunds, of.refunds_fen) = (n, fen);
        }
        Ok(sums)
    }

    /// Payments of a merchant by WeChat's numbers, whatever their day.
    pub async fn payments_by_number(
        &self,
        merchant: &MerchantKey,
        numbers: &[String],
    ) -> Result<HashMap<String, LedgerItem>, DbError> {
        self.by_number(
            LineKind::Payment,
            &format!("{PAYMENT} WHERE merchant = $1 AND transaction_id"),
            merchant,
            numbers,
        )
        .await
    }

    /// Refunds of a merchant by their own numbers, whatever their day.
    pub async fn refunds_by_number(
        &self,
        merchant: &MerchantKey,
        numbers: &[String],
    ) -> Result<HashMap<String, LedgerItem>, DbError> {
        self.by_number(LineKind::Refund, &format!("{REFUND} WHERE merchant = $1 AND refund_no"), merchant, numbers)
            .await
    }

    async fn by_number(
        &self,
        kind: LineKind,
        select: &str,
        merchant: &MerchantKey,
        numbers: &[String],
    ) -> Result<HashMap<String, LedgerItem>, DbError> {
        if numbers.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = format!("{select} IN {}", placeholders(1, numbers.len(), 1));
        let mut values = vec![merchant.as_str().into()];
        values.extend(numbers.iter().map(|number| number.as_str().into()));
        let mut found = HashMap::with_capacity(numbers.len());
        for row in self.db.reader().rows(&sql, values).await? {
            let item = item(kind, &row)?;
            let number = item.ids.refund_no.clone().unwrap_or_else(|| item.ids.transaction_id.clone());
            found.insert(number, item);
        }
        Ok(found)
    }

    /// On which of `days` the bill has payments or refunds of these transactions that our books have on another day: by
    /// transaction and number of the refund.
    pub async fn carried_in_bills(
        &self,
        merchant: &MerchantKey,
        transactions: &[String],
        days: &[String],
    ) -> Result<HashMap<(String, Option<String>), String>, DbError> {
        if transactions.is_empty() || days.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = format!(
            "SELECT l.transaction_id AS transaction_id, l.refund_no AS refund_no, l.day AS day
             FROM reconciliation_lines AS l
             JOIN reconciliations AS r ON r.merchant = l.merchant AND r.day = l.day AND r.run = l.run
             WHERE l.class = 'carried' AND l.merchant = $1 AND l.bill_fen IS NOT NULL
               AND l.transaction_id IN {} AND l.day IN {}",
            placeholders(1, transactions.len(), 1),
            placeholders(1, days.len(), 1 + transactions.len())
        );
        let mut values = vec![merchant.as_str().into()];
        values.extend(transactions.iter().chain(days).map(|text| text.as_str().into()));
        let rows = self.db.reader().rows(&sql, values).await?;
        let found = |row: &Row| Ok(((row.get("transaction_id")?, row.get("refund_no")?), row.get("day")?));
        rows.iter().map(found).collect()
    }

    /// When a merchant's first order or payment was made; none where there is none.
    pub async fn first_trade_at(&self, merchant: &MerchantKey) -> Result<Option<Timestamp>, DbError> {
        // One step in the index per state.
        let of_state = |state: &OrderState| {
            let state = state.as_str();
            format!("UNION ALL SELECT MIN(created_at_ms) FROM orders WHERE merchant = $1 AND state = '{state}'")
        };
        let orders: Vec<String> = OrderState::ALL.iter().map(of_state).collect();
        let sql = format!(
            "SELECT MIN(at_ms) AS at_ms FROM (
               SELECT MIN(paid_at_ms) AS at_ms FROM payments WHERE merchant = $1 {}) AS t",
            orders.join(" ")
        );
        let rows = self.db.reader().rows(&sql, [merchant.as_str().into()]).await?;
        let at: Option<i64> = rows.first().map(|row| row.get("at_ms")).transpose()?.flatten();
        Ok(at.map(Timestamp::from_ms))
    }
}

fn item(kind: LineKind, row: &Row) -> Result<LedgerItem, DbError> {
    let state: String = row.get("state")?;
    Ok(LedgerItem {
        ids: Ids {
            kind,
            transaction_id: row.get("transaction_id")?,
            out_trade_no: row.get("out_trade_no")?,
            refund_no: row.get("refund_no")?,
            refund_id: row.get("refund_id")?,
        },
        order_no: row.get("order_no")?,
        side: LedgerSide {
            fen: row.get("amount_fen")?,
            currency: row.get("currency")?,
            counts: kind == LineKind::Payment || state == "succeeded",
            state,
            is_certain: row.get::<i64>("is_certain")? == 1,
            time: Timestamp::from_ms(row.get("at_ms")?),
        },
    })
}

//! Reading payments and their history.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
};

use crate::clock::Timestamp;
use crate::event::fact::{Fact, Payment};
use crate::ids::{MerchantKey, OrderNo, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::order::{HeldReason, OrderPayment, PaymentClass};
use crate::store::Store;
use crate::store::db::{DbError, placeholders};
use crate::store::entity::{evidence, ledger, payment};
use crate::store::order::rows::{broken, unknown, unreadable};
use crate::store::packed::rows::{defect, read_evidence};
use crate::store::writer::{Reader, Row};

/// The classes of what waits for an operator, or for its order.
pub const OPEN_CLASSES: [PaymentClass; 2] = [PaymentClass::Held, PaymentClass::Unmatched];

/// A payment that WeChat reported.
#[derive(Debug, Clone)]
pub struct StoredPayment {
    /// Its row number; later payments have higher ones.
    pub id: i64,
    /// The merchant.
    pub merchant: MerchantKey,
    /// WeChat's number of it.
    pub transaction_id: TransactionId,
    /// What it is to us.
    pub class: PaymentClass,
    /// Why it is or was held.
    pub reason: Option<HeldReason>,
    /// The order, where there is one.
    pub order_no: Option<OrderNo>,
    /// The number that was paid.
    pub out_trade_no: OutTradeNo,
    /// How much, in the currency's smallest unit.
    pub amount: Fen,
    /// WeChat's `fee_type`.
    pub currency: String,
    /// When WeChat took it.
    pub paid_at: Timestamp,
    /// When it became known here.
    pub recorded_at: Timestamp,
    /// When its class last changed.
    pub updated_at: Timestamp,
    /// What its refunds that have not failed come to.
    pub reserved: Fen,
    /// What went back.
    pub refunded: Fen,
}

/// Which payments are listed; what is not set does not restrict.
#[derive(Debug, Clone, Default)]
pub struct PaymentFilter {
    /// Of these merchants.
    pub merchants: Option<Vec<MerchantKey>>,
    /// Of this class.
    pub class: Option<PaymentClass>,
    /// Of this order.
    pub order_no: Option<OrderNo>,
    /// Paid at or after.
    pub from: Option<Timestamp>,
    /// Paid before.
    pub to: Option<Timestamp>,
    /// Older rows than this one.
    pub before_id: Option<i64>,
}

impl Store {
    /// Up to `limit` payments, newest first.
    pub async fn payments(&self, filter: &PaymentFilter, limit: u64) -> Result<Vec<StoredPayment>, DbError> {
        use payment::Column;
        let of = |merchants: &Vec<MerchantKey>| Column::Merchant.is_in(merchants.iter().map(MerchantKey::as_str));
        let only = Condition::all()
            .add_option(filter.merchants.as_ref().map(of))
            .add_option(filter.class.map(|class| Column::Class.eq(class.as_str())))
            .add_option(filter.order_no.as_ref().map(|order_no| Column::OrderNo.eq(order_no.as_str())))
            .add_option(filter.from.map(|from| Column::PaidAtMs.gte(from.as_ms())))
            .add_option(filter.to.map(|to| Column::PaidAtMs.lt(to.as_ms())))
            .add_option(filter.before_id.map(|id| Column::Id.lt(id)));
        let rows =
            payment::Entity::find().filter(only).order_by_desc(Column::Id).limit(limit).all(self.db.read()).await?;
        self.with_totals(rows).await
    }

    /// One payment by WeChat's number.
    pub async fn payment(
        &self,
        merchant: &MerchantKey,
        transaction_id: &TransactionId,
    ) -> Result<Option<StoredPayment>, DbError> {
        let rows = payment::Entity::find()
            .filter(payment::Column::Merchant.eq(merchant.as_str()))
            .filter(payment::Column::TransactionId.eq(transaction_id.as_str()))
            .all(self.db.read())
            .await?;
        Ok(self.with_totals(rows).await?.pop())
    }

    /// Whether a payment is known as one of another attempt than this.
    pub async fn is_of_another_attempt(
        &self,
        merchant: &MerchantKey,
        transaction_id: &TransactionId,
        out_trade_no: &OutTradeNo,
    ) -> Result<bool, DbError> {
        let sql = "SELECT 1 AS one FROM payments WHERE merchant = $1 AND transaction_id = $2 AND out_trade_no <> $3
                   UNION ALL
                   SELECT 1 AS one FROM attempts WHERE merchant = $1 AND transaction_id = $2 AND out_trade_no <> $3";
        let values = [merchant.as_str().into(), transaction_id.as_str().into(), out_trade_no.as_str().into()];
        Ok(!self.db.reader().rows(sql, values).await?.is_empty())
    }

    /// An order's payments, oldest first.
    pub async fn payments_of_order(&self, order_id: i64) -> Result<Vec<StoredPayment>, DbError> {
        let rows = payment::Entity::find()
            .filter(payment::Column::OrderId.eq(order_id))
            .order_by_asc(payment::Column::Id)
            .all(self.db.read())
            .await?;
        self.with_totals(rows).await
    }

    /// The ledger rows of a payment, oldest first: its entry and every change of its class.
    pub async fn payment_history(&self, payment: &StoredPayment) -> Result<Vec<ledger::Model>, DbError> {
        Ok(ledger::Entity::find()
            .filter(ledger::Column::Merchant.eq(payment.merchant.as_str()))
            // All entries by name, so that the unique key serves.
            .filter(ledger::Column::Entry.is_in(["payment", "matched", "accepted", "returned"]))
            .filter(ledger::Column::TransactionId.eq(payment.transaction_id.as_str()))
            .order_by_asc(ledger::Column::Id)
            .all(self.db.read())
            .await?)
    }

    /// An order's payment in WeChat's own words, from the evidence that entered it.
    pub async fn reported_payment(
        &self,
        order_id: i64,
        transaction_id: &TransactionId,
    ) -> Result<Option<Payment>, DbError> {
        let sql = "SELECT e.* FROM ledger AS l
                   JOIN evidence AS e ON e.order_id = l.order_id AND e.version = l.order_version
                   WHERE l.order_id = $1 AND l.transaction_id = $2 AND l.entry IN ('payment', 'matched')";
        let values = [order_id.into(), transaction_id.as_str().into()];
        let Some(row) = self.db.read().query_one_raw(self.db.statement(sql, values)).await? else { return Ok(None) };
        let row = evidence::Model::from_query_result(&row, "")?;
        let (fact, _) = read_evidence(&row).map_err(|e| defect("evidence", row.id, e))?;
        match serde_json::from_str(&fact).map_err(|e| unreadable("fact", &e))? {
            Fact::Paid(payment) | Fact::Refunded(payment) => Ok(Some(payment)),
            _ => Ok(None),
        }
    }

    /// How many payments are in each of [`OPEN_CLASSES`], by merchant; none of those where there are none.
    pub async fn open_payments(&self) -> Result<Vec<(String, PaymentClass, i64)>, DbError> {
        let classes = OPEN_CLASSES.map(|class| format!("'{}'", class.as_str())).join(", ");
        let sql = format!(
            "SELECT merchant, class, COUNT(*) AS n FROM payments WHERE class IN ({classes}) GROUP BY merchant, class"
        );
        let rows = self.db.reader().rows(&sql, []).await?;
        let count = |row: &Row| {
            let class: String = row.get("class")?;
            let class = PaymentClass::parse(&class).ok_or_else(|| unknown("class", &class))?;
            Ok((row.get("merchant")?, class, row.get("n")?))
        };
        rows.iter().map(count).collect()
    }

    /// What a merchant's payments come to, by class and currency, and what its refunds come to.
    pub async fn payment_sums(&self, merchant: &MerchantKey) -> Result<Vec<(PaymentClass, String, Fen)>, DbError> {
        let sql = "SELECT class, currency, CAST(SUM(amount_fen) AS BIGINT) AS sum_fen FROM payments
                   WHERE merchant = $1 GROUP BY class, currency ORDER BY class, currency";
        let rows = self.db.read().query_all_raw(self.db.statement(sql, [merchant.as_str().into()])).await?;
        let sum = |row: sea_orm::QueryResult| {
            let class: String = row.try_get("", "class")?;
            let class = PaymentClass::parse(&class).ok_or_else(|| unknown("class", &class))?;
            Ok((class, row.try_get("", "currency")?, Fen::from_i64(row.try_get("", "sum_fen")?)))
        };
        rows.into_iter().map(sum).collect()
    }

    async fn with_totals(&self, rows: Vec<payment::Model>) -> Result<Vec<StoredPayment>, DbError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let keys = placeholders(rows.len(), 2, 0);
        let sql = format!(
            "SELECT merchant, transaction_id, reserved_fen, refunded_fen FROM refund_totals
             WHERE (merchant, transaction_id) IN (VALUES {keys})"
        );
        let values = rows.iter().flat_map(|row| [row.merchant.clone().into(), row.transaction_id.clone().into()]);
        let mut totals: HashMap<(String, String), (Fen, Fen)> = HashMap::new();
        for t in self.db.reader().rows(&sql, values).await? {
            let sums = (Fen::from_i64(t.get("reserved_fen")?), Fen::from_i64(t.get("refunded_fen")?));
            totals.insert((t.get("merchant")?, t.get("transaction_id")?), sums);
        }
        let payment = |row: payment::Model| {
            let totals = totals.get(&(row.merchant.clone(), row.transaction_id.clone()));
            let (reserved, refunded) = totals.copied().unwrap_or((Fen::ZERO, Fen::ZERO));
            stored_payment(row, reserved, refunded)
        };
        rows.into_iter().map(payment).collect()
    }
}

fn class_of(text: &str) -> Result<PaymentClass, DbError> {
    PaymentClass::parse(text).ok_or_else(|| unknown("class", text))
}

fn reason_of(text: Option<&str>) -> Result<Option<HeldReason>, DbError> {
    text.map(|text| HeldReason::parse(text).ok_or_else(|| unknown("reason", text))).transpose()
}

fn stored_payment(row: payment::Model, reserved: Fen, refunded: Fen) -> Result<StoredPayment, DbError> {
    Ok(StoredPayment {
        id: row.id,
        merchant: MerchantKey::parse(row.merchant).map_err(broken("merchant"))?,
        transaction_id: TransactionId::parse(row.transaction_id).map_err(broken("transaction_id"))?,
        class: class_of(&row.class)?,
        reason: reason_of(row.reason.as_deref())?,
        order_no: row.order_no.map(OrderNo::parse).transpose().map_err(broken("order_no"))?,
        out_trade_no: OutTradeNo::parse(row.out_trade_no).map_err(broken("out_trade_no"))?,
        amount: Fen::from_i64(row.amount_fen),
        currency: row.currency,
        paid_at: Timestamp::from_ms(row.paid_at_ms),
        recorded_at: Timestamp::from_ms(row.recorded_at_ms),
        updated_at: Timestamp::from_ms(row.updated_at_ms),
        reserved,
        refunded,
    })
}

/// The payments of orders, by the order's row, oldest first.
pub(in crate::store) async fn of_orders(
    reader: Reader<'_>,
    order_ids: &[i64],
) -> Result<Vec<(i64, OrderPayment)>, DbError> {
    if order_ids.is_empty() {
        return Ok(Vec::new());
    }
    let kind = reader.kind();
    let of_them = kind.among_numbers("p.order_id", 1);
    let sql = format!(
        "SELECT p.order_id AS order_id, p.transaction_id AS transaction_id, p.out_trade_no AS out_trade_no,
                p.amount_fen AS amount_fen, p.currency AS currency, p.class AS class, p.reason AS reason,
                COALESCE(t.reserved_fen, 0) AS reserved_fen
         FROM payments AS p
         LEFT JOIN refund_totals AS t ON t.merchant = p.merchant AND t.transaction_id = p.transaction_id
         WHERE {of_them} ORDER BY p.id"
    );
    let rows = reader.rows(&sql, [kind.numbers(order_ids.iter().copied())]).await?;
    let payment = |row: Row| {
        let reason: Option<String> = row.get("reason")?;
        let payment = OrderPayment {
            transaction_id: TransactionId::parse(row.get::<String>("transaction_id")?)
                .map_err(broken("transaction_id"))?,
            out_trade_no: OutTradeNo::parse(row.get::<String>("out_trade_no")?).map_err(broken("out_trade_no"))?,
            amount: Fen::from_i64(row.get("amount_fen")?),
            currency: row.get("currency")?,
            class: class_of(&row.get::<String>("class")?)?,
            reason: reason_of(reason.as_deref())?,
            reserved: Fen::from_i64(row.get("reserved_fen")?),
        };
        Ok((row.get("order_id")?, payment))
    };
    rows.into_iter().map(payment).collect()
}

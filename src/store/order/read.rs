//! Reading orders with their attempts.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::rows::{StoredOrder, stored_order};
use crate::ids::{MerchantKey, OrderNo, OutTradeNo};
use crate::order::OrderPayment;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::entity::{attempt, order};
use crate::store::payment::read::of_orders;
use crate::store::writer::Reader;

impl Store {
    /// Orders by the business's numbers.
    pub async fn orders(&self, merchant: &MerchantKey, order_nos: &[OrderNo]) -> Result<Vec<StoredOrder>, DbError> {
        let numbers = order_nos.iter().map(OrderNo::as_str);
        let select = order::Entity::find()
            .filter(order::Column::Merchant.eq(merchant.as_str()))
            .filter(order::Column::OrderNo.is_in(numbers));
        let reader = self.db.reader();
        with_attempts(reader, reader.all(select).await?).await
    }

    /// One order by the business's number.
    pub async fn order(&self, merchant: &MerchantKey, order_no: &OrderNo) -> Result<Option<StoredOrder>, DbError> {
        Ok(self.orders(merchant, std::slice::from_ref(order_no)).await?.pop())
    }

    /// Orders by their attempts' numbers at WeChat.
    pub async fn orders_by_out_trade_no(
        &self,
        merchant: &MerchantKey,
        numbers: &[OutTradeNo],
    ) -> Result<Vec<StoredOrder>, DbError> {
        orders_of_attempts(self.db.reader(), merchant, numbers).await
    }
}

/// Orders by their attempts' numbers at WeChat.
pub(super) async fn orders_of_attempts(
    reader: Reader<'_>,
    merchant: &MerchantKey,
    numbers: &[OutTradeNo],
) -> Result<Vec<StoredOrder>, DbError> {
    let kind = reader.kind();
    let condition = format!(
        "id IN (SELECT order_id FROM attempts WHERE merchant = $1 AND {})",
        kind.among_texts("out_trade_no", 2)
    );
    let values = [merchant.as_str().into(), kind.texts(numbers.iter().map(OutTradeNo::as_str))];
    let rows = reader.all(order::Entity::find().filter(kind.condition(condition, values))).await?;
    with_attempts(reader, rows).await
}

pub(super) async fn with_attempts(reader: Reader<'_>, rows: Vec<order::Model>) -> Result<Vec<StoredOrder>, DbError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut attempts: HashMap<i64, Vec<attempt::Model>> = HashMap::new();
    let kind = reader.kind();
    let of_them = kind.condition(kind.among_numbers("order_id", 1), [kind.numbers(rows.iter().map(|o| o.id))]);
    let their_attempts = attempt::Entity::find().filter(of_them).order_by_asc(attempt::Column::N);
    for a in reader.all(their_attempts).await? {
        attempts.entry(a.order_id).or_default().push(a);
    }
    let has_money = |o: &&order::Model| o.transaction_id.is_some() || o.amount_mismatch || o.paid_before_order;
    let with_money: Vec<i64> = rows.iter().filter(has_money).map(|o| o.id).collect();
    let mut payments: HashMap<i64, Vec<OrderPayment>> = HashMap::new();
    for (order_id, payment) in of_orders(reader, &with_money).await? {
        payments.entry(order_id).or_default().push(payment);
    }
    rows.into_iter()
        .map(|o| {
            let attempts = attempts.remove(&o.id).unwrap_or_default();
            let payments = payments.remove(&o.id).unwrap_or_default();
            stored_order(o, attempts, payments)
        })
        .collect()
}

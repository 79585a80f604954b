//! Payments as a plan needs them: whose each is, and whether it goes back.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, Value};

use crate::ids::{MerchantKey, TransactionId};
use crate::order::PaymentClass;
use crate::store::Store;
use crate::store::db::{DbError, placeholders};

/// A payment that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPayment {
    /// None where it is of no order.
    pub order_id: Option<i64>,
    pub class: PaymentClass,
    /// Whether refunds of it have not failed.
    pub is_reserved: bool,
}

impl Store {
    /// Those of these payments of a merchant that are known.
    pub async fn known_payments(
        &self,
        merchant: &MerchantKey,
        numbers: &[TransactionId],
    ) -> Result<HashMap<TransactionId, KnownPayment>, DbError> {
        if numbers.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = format!(
            "SELECT p.transaction_id, p.order_id, p.class, COALESCE(t.reserved_fen, 0) AS reserved_fen
             FROM payments AS p
             LEFT JOIN refund_totals AS t ON t.merchant = p.merchant AND t.transaction_id = p.transaction_id
             WHERE p.merchant = $1 AND p.transaction_id IN {}",
            placeholders(1, numbers.len(), 1)
        );
        let values = std::iter::once(Value::from(merchant.as_str()));
        let values = values.chain(numbers.iter().map(|number| number.as_str().into()));
        let rows = self.db.read().query_all_raw(self.db.statement(sql, values)).await?;
        let mut known = HashMap::with_capacity(rows.len());
        for row in rows {
            let defect = |e: &dyn std::fmt::Display| DbError::Defect(e.to_string());
            let number = TransactionId::parse(row.try_get::<String>("", "transaction_id")?).map_err(|e| defect(&e))?;
            let class = PaymentClass::parse(&row.try_get::<String>("", "class")?);
            let payment = KnownPayment {
                order_id: row.try_get("", "order_id")?,
                class: class.ok_or_else(|| defect(&"class of a payment is not known"))?,
                is_reserved: row.try_get::<i64>("", "reserved_fen")? > 0,
            };
            known.insert(number, payment);
        }
        Ok(known)
    }
}

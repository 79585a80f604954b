//! A reconciled day as a proof.

use super::reconciled::decimal;
use crate::ids::MerchantKey;
use crate::store::{ClassSum, DbError, Reconciliation, Store};

/// A day's result: the bill's total, less what each class explains, is ours.
#[derive(Debug, Clone)]
pub struct Proof {
    pub day: Reconciliation,
    pub classes: Vec<ClassSum>,
    /// Of the bill, as decimals in yuan.
    pub fees: String,
}

impl Proof {
    pub const fn bill_fen(&self) -> i64 {
        self.day.bill.payments_fen - self.day.bill.refunds_fen
    }

    pub const fn ledger_fen(&self) -> i64 {
        self.day.ledger.payments_fen - self.day.ledger.refunds_fen
    }
}

/// A day that was asked for; none where it was not.
pub async fn proof(store: &Store, merchant: &MerchantKey, day: &str) -> Result<Option<Proof>, DbError> {
    let Some(day) = store.reconciliation(merchant, day).await? else { return Ok(None) };
    let (classes, fees) = (store.class_sums(&day).await?, decimal(day.bill.fees));
    Ok(Some(Proof { day, classes, fees }))
}

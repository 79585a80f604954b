//! The days of a merchant: what its books have, and what their reconciliation says.

use serde::{Deserialize, Serialize};

use super::reconciled::{DayState, MAX_DAYS, reconciled};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::{DbError, Store};

/// A day of a merchant: what its books have, and what its reconciliation says. Amounts in yuan alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayRow {
    pub day: String,
    pub payments: i64,
    pub payments_fen: i64,
    pub refunds: i64,
    pub refunds_fen: i64,
    /// From the bill: what coupons paid, the fees and what is settled, as decimals in yuan.
    pub coupons_fen: Option<i64>,
    pub fees: Option<String>,
    pub net: Option<String>,
    /// Lines that differ, whether or not they are explained, and what they come to.
    pub differences: Option<i64>,
    pub differences_fen: Option<i64>,
    /// `missing` where the day was not reconciled.
    pub state: DayState,
}

/// The beginnings of the days of a range, oldest first.
pub fn days_of(from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let mut days = Vec::new();
    let mut at = from;
    while at < to && (days.len() as u64) < MAX_DAYS {
        days.push(at);
        at = at.next_beijing_midnight();
    }
    days
}

/// Every day of a range, as far as its money was recorded before `recorded_before`.
pub async fn day_rows(
    store: &Store,
    merchant: &MerchantKey,
    (from, to): (Timestamp, Timestamp),
    recorded_before: Timestamp,
) -> Result<Vec<DayRow>, DbError> {
    let sums = store.sums_by_day(merchant, (from, to), recorded_before).await?;
    let bills = reconciled(store, merchant, (from, to)).await?;
    let row = |begin: &Timestamp| {
        let day = begin.to_beijing_day();
        let ours = sums.get(&day).copied().unwrap_or_default();
        let bill = bills.get(&day);
        DayRow {
            payments: ours.payments,
            payments_fen: ours.payments_fen,
            refunds: ours.refunds,
            refunds_fen: ours.refunds_fen,
            coupons_fen: bill.and_then(|bill| bill.coupons_fen),
            fees: bill.and_then(|bill| bill.fees.clone()),
            net: bill.and_then(|bill| bill.net.clone()),
            differences: bill.map(|bill| bill.differences),
            differences_fen: bill.map(|bill| bill.differences_fen),
            state: bill.map_or(DayState::Missing, |bill| bill.state),
            day,
        }
    };
    Ok(days_of(from, to).iter().map(row).collect())
}

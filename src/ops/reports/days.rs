//! The days of a merchant: what its books have, and what their reconciliation says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::reconciled::{DayState, MAX_DAYS, ReconciledBill, reconciled, without_result};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::reconciliation::YUAN;
use crate::store::{DayNote, DaySums, DbError, Store};

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
    /// `missing` where the day was not reconciled, `not_due` where it cannot be yet.
    pub state: DayState,
    /// What explains the day in the place of a comparison with WeChat's bill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained: Option<DayNote>,
    /// The same sums of other currencies: nothing is added up across currencies.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<String, CurrencyDay>,
}

/// The sums of a day in one currency, which is not yuan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CurrencyDay {
    pub payments: i64,
    pub payments_fen: i64,
    pub refunds: i64,
    pub refunds_fen: i64,
    pub coupons_fen: Option<i64>,
    pub fees: Option<String>,
    pub net: Option<String>,
    pub differences_fen: Option<i64>,
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

/// Every day of a range, as far as its money was recorded before `recorded_before`, which is about now.
pub async fn day_rows(
    store: &Store,
    merchant: &MerchantKey,
    (from, to): (Timestamp, Timestamp),
    recorded_before: Timestamp,
) -> Result<Vec<DayRow>, DbError> {
    let sums = store.sums_by_day(merchant, (from, to), recorded_before).await?;
    let bills = reconciled(store, merchant, (from, to), recorded_before).await?;
    let row = |begin: &Timestamp| {
        let day = begin.to_beijing_day();
        let mut others = BTreeMap::<String, CurrencyDay>::new();
        let mut ours = DaySums::default();
        for (currency, sums) in sums.get(&day).into_iter().flatten() {
            if currency == YUAN {
                ours = *sums;
            } else {
                others.insert(currency.clone(), of_books(sums));
            }
        }
        let reconciled = bills.get(&day);
        for (currency, bill) in reconciled.iter().flat_map(|day| &day.others) {
            add_bill(others.entry(currency.clone()).or_default(), bill);
        }
        // A day that was explained without any result has no lines.
        let compared = reconciled.filter(|day| day.explained.is_none() || day.bill.is_some() || day.is_mixed);
        let bill = reconciled.and_then(|day| day.bill.clone());
        DayRow {
            payments: ours.payments,
            payments_fen: ours.payments_fen,
            refunds: ours.refunds,
            refunds_fen: ours.refunds_fen,
            differences: compared.map(|day| day.differences),
            coupons_fen: bill.as_ref().map(|bill| bill.coupons_fen),
            differences_fen: compared
                .filter(|day| !day.is_mixed)
                .map(|_| bill.as_ref().map_or(0, |bill| bill.differences_fen)),
            net: bill.as_ref().map(|bill| bill.net.clone()),
            fees: bill.map(|bill| bill.fees),
            explained: reconciled.and_then(|day| day.explained.clone()),
            state: reconciled.map_or_else(|| without_result(*begin, recorded_before), |day| day.state),
            others,
            day,
        }
    };
    Ok(days_of(from, to).iter().map(row).collect())
}

fn of_books(sums: &DaySums) -> CurrencyDay {
    CurrencyDay {
        payments: sums.payments,
        payments_fen: sums.payments_fen,
        refunds: sums.refunds,
        refunds_fen: sums.refunds_fen,
        ..CurrencyDay::default()
    }
}

fn add_bill(day: &mut CurrencyDay, bill: &ReconciledBill) {
    day.coupons_fen = Some(bill.coupons_fen);
    day.fees = Some(bill.fees.clone());
    day.net = Some(bill.net.clone());
    day.differences_fen = Some(bill.differences_fen);
}

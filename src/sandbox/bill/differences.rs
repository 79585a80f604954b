//! Differences between the ledger and its bills, planted by the tester: the ledger stays as it is.

use serde::{Deserialize, Serialize};

use super::day::Day;
use super::trade_rows::{TradeRow, fee_on};
use crate::clock::Timestamp;

/// What is to be wrong with a bill of a merchant. In the trade bills of every type; fund flows stay right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::sandbox) enum Difference {
    /// The payment has no row.
    MissingPayment { out_trade_no: String },
    /// The refund has no row.
    MissingRefund { out_refund_no: String },
    /// The row's amounts are larger by so many fen (one where none are given).
    Amount { number: String, fen: Option<i64> },
    /// The row's fee is larger by so many fen (one where none are given).
    Fee { number: String, fen: Option<i64> },
    /// A refund's state, or a payment's trade state, is this one.
    Status { number: String, status: String },
    /// The row appears twice.
    Duplicate { number: String },
    /// The row stands in the bill of the next day: it was booked after midnight.
    Postponed { number: String },
    /// The row's currency is this one (`USD` where none is given).
    Currency { number: String, currency: Option<String> },
    /// A payment that the ledger does not have: of another system of the same merchant.
    Extra { out_trade_no: String, day: String, total_fee: i64, appid: Option<String> },
    /// The summary of this day counts one row more than there is.
    Summary { day: String },
}

impl Difference {
    /// Whether it names a day, where it does, that is one.
    pub fn is_possible(&self) -> bool {
        match self {
            Difference::Extra { day, total_fee, .. } => Day::parse(day).is_some() && *total_fee > 0,
            Difference::Summary { day } => Day::parse(day).is_some(),
            _ => true,
        }
    }
}

/// The rows of a day with its differences, and what its summary counts too many. `before` are the rows of the day
/// before it.
pub(in crate::sandbox) fn planted(
    mut rows: Vec<TradeRow>,
    before: Vec<TradeRow>,
    differences: &[&Difference],
    (mch_id, day): (&str, &Day),
) -> (Vec<TradeRow>, i64) {
    let mut more = 0;
    let is_postponed = |row: &TradeRow| {
        differences.iter().any(|d| matches!(d, Difference::Postponed { number } if number == own_number(row)))
    };
    rows.retain(|row| !is_postponed(row));
    rows.extend(before.into_iter().filter(is_postponed));
    for (serial, difference) in differences.iter().enumerate() {
        match difference {
            Difference::MissingPayment { out_trade_no } => {
                rows.retain(|row| row.refund.is_some() || row.out_trade_no != *out_trade_no);
            }
            Difference::MissingRefund { out_refund_no } => {
                rows.retain(|row| row.refund.as_ref().is_none_or(|refund| refund.out_refund_no != *out_refund_no));
            }
            Difference::Amount { number, fen } => {
                of_number(&mut rows, number).for_each(|row| enlarge(row, fen.unwrap_or(1)));
            }
            Difference::Fee { number, fen } => {
                of_number(&mut rows, number).for_each(|row| row.fee += fen.unwrap_or(1));
            }
            Difference::Status { number, status } => {
                of_number(&mut rows, number).for_each(|row| match &mut row.refund {
                    Some(refund) => refund.state.clone_from(status),
                    None => row.trade_state.clone_from(status),
                });
            }
            Difference::Duplicate { number } => {
                let twice: Vec<TradeRow> = of_number(&mut rows, number).map(|row| row.clone()).collect();
                rows.extend(twice);
            }
            Difference::Currency { number, currency } => {
                let currency = currency.as_deref().unwrap_or("USD");
                of_number(&mut rows, number).for_each(|row| currency.clone_into(&mut row.currency));
            }
            Difference::Extra { out_trade_no, day: of, total_fee, appid } if Day::parse(of).as_ref() == Some(day) => {
                rows.push(extra(out_trade_no, *total_fee, appid.as_deref(), (mch_id, day), serial));
            }
            Difference::Summary { day: of } if Day::parse(of).as_ref() == Some(day) => more += 1,
            Difference::Extra { .. } | Difference::Summary { .. } | Difference::Postponed { .. } => {}
        }
    }
    (rows, more)
}

/// The payment under an `out_trade_no`, or the refund under an `out_refund_no`.
fn of_number<'r>(rows: &'r mut [TradeRow], number: &'r str) -> impl Iterator<Item = &'r mut TradeRow> {
    rows.iter_mut().filter(move |row| own_number(row) == number)
}

fn own_number(row: &TradeRow) -> &str {
    row.refund.as_ref().map_or(&row.out_trade_no, |refund| &refund.out_refund_no)
}

fn enlarge(row: &mut TradeRow, fen: i64) {
    match &mut row.refund {
        Some(refund) => {
            refund.amount += fen;
            refund.requested += fen;
        }
        None => {
            row.order += fen;
            row.settlement += fen;
        }
    }
}

fn extra(out_trade_no: &str, fen: i64, appid: Option<&str>, (mch_id, day): (&str, &Day), serial: usize) -> TradeRow {
    let noon: Timestamp = day.ends_at();
    let time = Timestamp::from_ms(noon.as_ms() - 12 * 3600 * 1000);
    TradeRow {
        time,
        appid: appid.unwrap_or("wx0000000000000000").to_owned(),
        mch_id: mch_id.to_owned(),
        device_info: String::new(),
        transaction_id: format!("4299999999{}{serial:010}", day.name),
        out_trade_no: out_trade_no.to_owned(),
        openid: "oForeignPayer000000000000000".to_owned(),
        trade_type: "MICROPAY".to_owned(),
        trade_state: "SUCCESS".to_owned(),
        bank_type: "OTHERS".to_owned(),
        currency: "CNY".to_owned(),
        settlement: fen,
        coupon: 0,
        refund: None,
        body: "其他系统的订单".to_owned(),
        attach: String::new(),
        fee: fee_on(fen),
        order: fen,
    }
}

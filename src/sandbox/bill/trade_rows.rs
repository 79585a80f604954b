//! The rows of trade bills, from the ledger.

use super::day::Day;
use crate::clock::Timestamp;
use crate::sandbox::ledger::order::Order;
use crate::sandbox::ledger::record::{CouponType, Payment, Refund, RefundStatus};

/// What WeChat takes of every payment: 0.60 %, in hundredths of a per cent.
const RATE: i64 = 60;

/// A row of a trade bill. Amounts in fen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct TradeRow {
    pub time: Timestamp,
    pub appid: String,
    pub mch_id: String,
    pub device_info: String,
    pub transaction_id: String,
    pub out_trade_no: String,
    pub openid: String,
    pub trade_type: String,
    pub trade_state: String,
    pub bank_type: String,
    pub currency: String,
    pub settlement: i64,
    pub coupon: i64,
    pub refund: Option<RefundRow>,
    pub body: String,
    pub attach: String,
    pub fee: i64,
    pub order: i64,
}

/// The columns of refunds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct RefundRow {
    pub requested_at: Timestamp,
    pub succeeded_at: Option<Timestamp>,
    pub refund_id: String,
    pub out_refund_no: String,
    /// What leaves the merchant's account.
    pub amount: i64,
    pub coupon: i64,
    pub state: String,
    /// What was asked for.
    pub requested: i64,
}

/// All rows of a merchant's day, in the order of their time.
pub(in crate::sandbox) fn of_day(orders: &[Order], mch_id: &str, day: &Day) -> Vec<TradeRow> {
    let mut rows = Vec::new();
    for order in orders.iter().filter(|order| order.terms.mch_id.as_str() == mch_id && !order.terms.is_test) {
        let Some(payment) = &order.payment else { continue };
        if day.holds(payment.paid_at) {
            rows.push(payment_row(order, payment));
        }
        let refunds = order.refunds.iter().filter(|refund| day.holds(refund.accepted_at));
        rows.extend(refunds.map(|refund| refund_row(order, payment, refund, day)));
    }
    rows.sort_by_key(|row| row.time);
    rows
}

/// The fee on what is settled, rounded to whole fen.
pub(in crate::sandbox) const fn fee_on(settlement: i64) -> i64 {
    (settlement * RATE + 5000) / 10_000
}

/// The fee that a refund gives back: rounded by itself, no more than is left of the payment's, and all that is left by
/// the refund that completes the payment.
pub(in crate::sandbox) fn fee_back(order: &Order, payment: &Payment, refund: &Refund) -> i64 {
    let total = settled(payment);
    let (mut back, mut left) = (0_i64, fee_on(total));
    for each in &order.refunds {
        let amount = each.settlement_refund_fee.as_i64();
        let fee = if back + amount == total { left } else { fee_on(amount).min(left) };
        if each.refund_id == refund.refund_id {
            return fee;
        }
        // What came back to the merchant may be refunded again.
        if !matches!(each.status, RefundStatus::Change | RefundStatus::RefundClose) {
            back += amount;
            left -= fee;
        }
    }
    0
}

/// What of a payment is settled: a coupon that was not paid for in advance is not.
pub(in crate::sandbox) fn settled(payment: &Payment) -> i64 {
    match payment.coupon_type {
        Some(CouponType::NoCash) => payment.cash_fee.as_i64(),
        Some(CouponType::Cash) | None => payment.total_fee.as_i64(),
    }
}

fn payment_row(order: &Order, payment: &Payment) -> TradeRow {
    let terms = &order.terms;
    let settlement = settled(payment);
    TradeRow {
        time: payment.paid_at,
        appid: payment.appid.as_str().to_owned(),
        mch_id: payment.mch_id.as_str().to_owned(),
        device_info: terms.device_info.clone(),
        transaction_id: payment.transaction_id.as_str().to_owned(),
        out_trade_no: payment.out_trade_no.as_str().to_owned(),
        openid: payment.openid.as_str().to_owned(),
        trade_type: terms.trade_type.as_str().to_owned(),
        trade_state: "SUCCESS".to_owned(),
        bank_type: payment.bank_type.clone(),
        currency: payment.fee_type.clone(),
        settlement,
        coupon: payment.coupon_fee.as_i64(),
        refund: None,
        body: terms.body.clone(),
        attach: terms.attach.clone(),
        fee: fee_on(settlement),
        order: payment.total_fee.as_i64(),
    }
}

fn refund_row(order: &Order, payment: &Payment, refund: &Refund, day: &Day) -> TradeRow {
    let ended_at = refund.ended_at.filter(|at| *at < day.made_at());
    let state = match (ended_at, refund.status) {
        (None, _) | (_, RefundStatus::Processing) => "PROCESSING",
        (Some(_), RefundStatus::Success) => "SUCCESS",
        (Some(_), RefundStatus::Change) => "CHANGE",
        (Some(_), RefundStatus::RefundClose) => "FAIL",
    };
    let amount = refund.settlement_refund_fee.as_i64();
    let coupon = match payment.coupon_type {
        Some(CouponType::Cash) => refund.coupon_refund_fee.as_i64(),
        Some(CouponType::NoCash) | None => 0,
    };
    TradeRow {
        time: refund.accepted_at,
        trade_state: "REFUND".to_owned(),
        settlement: 0,
        coupon: 0,
        order: 0,
        fee: -fee_back(order, payment, refund),
        refund: Some(RefundRow {
            requested_at: refund.accepted_at,
            succeeded_at: ended_at.filter(|_| state == "SUCCESS"),
            refund_id: refund.refund_id.clone(),
            out_refund_no: refund.out_refund_no.clone(),
            amount,
            coupon,
            state: state.to_owned(),
            requested: refund.refund_fee.as_i64(),
        }),
        ..payment_row(order, payment)
    }
}

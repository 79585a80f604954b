//! The entries of the merchant's basic account, from the ledger: what came in, WeChat's fees, what went back.

use super::day::Day;
use super::trade_rows::{fee_back, fee_on, settled};
use crate::clock::Timestamp;
use crate::sandbox::ledger::order::Order;
use crate::sandbox::ledger::record::{Payment, Refund, RefundSource, RefundStatus};

/// An entry. Amounts in fen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct FundRow {
    pub time: Timestamp,
    pub business_no: String,
    pub flow_no: String,
    pub kind: &'static str,
    pub is_income: bool,
    pub amount: i64,
    /// Of the account after the entry.
    pub balance: i64,
    pub requested_by: String,
    pub remark: String,
    pub voucher_no: String,
}

/// The entries of a merchant's day, in the order of their time. The account was empty when the ledger began.
pub(in crate::sandbox) fn of_day(orders: &[Order], mch_id: &str, day: &Day) -> Vec<FundRow> {
    let mut entries = Vec::new();
    for order in orders.iter().filter(|order| order.terms.mch_id.as_str() == mch_id && !order.terms.is_test) {
        let Some(payment) = &order.payment else { continue };
        of_payment(payment, &mut entries);
        for refund in &order.refunds {
            of_refund(refund, fee_back(order, payment, refund), &mut entries);
        }
    }
    entries.sort_by_key(|entry| entry.time);
    let mut balance = 0_i64;
    for (serial, entry) in entries.iter_mut().enumerate() {
        balance += if entry.is_income { entry.amount } else { -entry.amount };
        entry.balance = balance;
        let date = entry.time.to_beijing();
        entry.flow_no = format!("1504{}{:016}", date.get(..8).unwrap_or_default(), serial + 1);
    }
    entries.retain(|entry| day.holds(entry.time));
    entries
}

fn of_payment(payment: &Payment, entries: &mut Vec<FundRow>) {
    let (amount, fee) = (settled(payment), fee_on(settled(payment)));
    let entry = FundRow {
        time: payment.paid_at,
        business_no: payment.transaction_id.as_str().to_owned(),
        flow_no: String::new(),
        kind: "交易",
        is_income: true,
        amount,
        balance: 0,
        requested_by: "system".to_owned(),
        remark: format!("结算总金额 {} 元;含手续费 {} 元", yuan(amount), yuan(fee)),
        voucher_no: payment.out_trade_no.as_str().to_owned(),
    };
    if fee != 0 {
        let fee = FundRow { kind: "扣除交易手续费", is_income: false, amount: fee, ..entry.clone() };
        entries.extend([entry, fee]);
    } else {
        entries.push(entry);
    }
}

/// What the merchant pays back is less by the fee that WeChat gives back.
fn of_refund(refund: &Refund, fee: i64, entries: &mut Vec<FundRow>) {
    let total = refund.settlement_refund_fee.as_i64();
    let requested_by = match refund.source {
        RefundSource::Api => format!("{}API", refund.mch_id.as_str()),
        RefundSource::VendorPlatform => refund.mch_id.as_str().to_owned(),
    };
    let entry = FundRow {
        time: refund.accepted_at,
        business_no: refund.refund_id.clone(),
        flow_no: String::new(),
        kind: "退款",
        is_income: false,
        amount: total - fee,
        balance: 0,
        requested_by,
        remark: format!("退款总金额{}元;含手续费{}元", yuan(total), yuan(fee)),
        voucher_no: refund.out_refund_no.clone(),
    };
    if let (RefundStatus::Change | RefundStatus::RefundClose, Some(at)) = (refund.status, refund.ended_at) {
        entries.push(FundRow { time: at, kind: "退款退回", is_income: true, ..entry.clone() });
    }
    entries.push(entry);
}

/// Fen in yuan with two decimals.
pub(in crate::sandbox) fn yuan(fen: i64) -> String {
    let (sign, fen) = (if fen < 0 { "-" } else { "" }, fen.unsigned_abs());
    format!("{sign}{}.{:02}", fen / 100, fen % 100)
}

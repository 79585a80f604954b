//! `/pay/refundquery`: the merchant asks what became of one refund, or of an order's, ten at a time.

use super::answer::{Refusal, Reply, with};
use super::check::{Message, lengths, malformed, optional, required};
use super::refund::{COUPON_ID, coupon_type, payment_side};
use super::unified_order::param_error;
use crate::clock::Timestamp;
use crate::ids::AppId;
use crate::sandbox::ledger::account::Book;
use crate::sandbox::ledger::order::{Lifetimes, Order};
use crate::sandbox::ledger::record::{CouponType, Payment, Refund, RefundStatus};
use crate::sandbox::notify::refund_notification::{RECEIVER, spaced};
use crate::sandbox::state::SandboxState;
use crate::wechat::v2::xml::Fields;

/// The most refunds of one answer.
const PAGE: usize = 10;

/// Executes the call. Of several numbers `refund_id` wins, then `out_refund_no`, then `transaction_id`.
pub(super) fn execute(sandbox: &SandboxState, message: &Message<'_>) -> Reply {
    let fields = &message.fields;
    lengths(fields, &[("refund_id", 32), ("out_refund_no", 64), ("transaction_id", 32), ("out_trade_no", 32)])?;
    let offset = match optional(fields, "offset") {
        None => None,
        Some(text) => Some(text.parse::<usize>().map_err(|_| malformed("offset"))?),
    };
    let book = sandbox.book();
    let found = find(&book, message)?;
    let payment = found.order.payment.as_ref().ok_or_else(not_found)?;
    shown(&found, payment, message, sandbox.lifetimes, sandbox.now())?;
    match found.only {
        Some(refund) => Ok(numbered(payment_side(payment), payment, &[refund])),
        None => page(payment, found.order, offset.unwrap_or(0)),
    }
}

/// Which order the call is about, for counting and for faults.
pub(super) fn subject(sandbox: &SandboxState, message: &Message<'_>) -> Option<String> {
    let book = sandbox.book();
    match find(&book, message) {
        Ok(found) => Some(found.order.terms.out_trade_no.as_str().to_owned()),
        Err(_) => optional(&message.fields, "out_trade_no").map(str::to_owned),
    }
}

struct Found<'b> {
    order: &'b Order,
    /// The refund whose number was given.
    only: Option<&'b Refund>,
}

fn find<'b>(book: &'b Book, message: &Message<'_>) -> Result<Found<'b>, Refusal> {
    let (fields, mch_id) = (&message.fields, message.account.mch_id.as_str());
    let one = |found: Option<(&'b Order, &'b Refund)>| {
        found.map(|(order, refund)| Found { order, only: Some(refund) }).ok_or_else(not_found)
    };
    let found = if let Some(id) = optional(fields, "refund_id") {
        one(book.refund_by_id(mch_id, id))?
    } else if let Some(own) = optional(fields, "out_refund_no") {
        one(book.refund_by_number(mch_id, own))?
    } else if let Some(id) = optional(fields, "transaction_id") {
        let unknown = || Refusal::Business("INVALID_TRANSACTIONID", "无效transaction_id".to_owned());
        Found { order: book.order_by_transaction(mch_id, id).ok_or_else(unknown)?, only: None }
    } else {
        Found { order: book.order(mch_id, required(fields, "out_trade_no")?).ok_or_else(not_found)?, only: None }
    };
    if visible(found.order, &message.appid) { Ok(found) } else { Err(not_found()) }
}

/// Another app of the same merchant does not see it.
fn visible(order: &Order, appid: &AppId) -> bool {
    order.terms.appid == *appid
}

/// Old payments are found by `transaction_id` only, with or without `refund_id`. WeChat documents the rule and no code
/// for breaking it.
fn shown(
    found: &Found<'_>,
    payment: &Payment,
    message: &Message<'_>,
    lifetimes: Lifetimes,
    now: Timestamp,
) -> Result<(), Refusal> {
    let fields = &message.fields;
    let by_transaction = optional(fields, "transaction_id") == Some(payment.transaction_id.as_str())
        && (found.only.is_none() || optional(fields, "refund_id").is_some());
    if !by_transaction && now > payment.paid_at.after(lifetimes.refunds_shown) {
        return Err(param_error("订单支付时间超过一年半，请使用transaction_id查询"));
    }
    Ok(())
}

fn page(payment: &Payment, order: &Order, offset: usize) -> Reply {
    let total = order.refunds.len();
    if total == 0 {
        return Err(not_found());
    }
    if offset > total {
        return Err(param_error("offset参数错误，大于退款总笔数"));
    }
    let refunds: Vec<&Refund> = order.refunds.iter().skip(offset).take(PAGE).collect();
    let fields = with(payment_side(payment), &[("total_refund_count", &total.to_string())]);
    Ok(numbered(fields, payment, &refunds))
}

/// Adds the refunds, each element with its refund's number from 0; a coupon's with its own behind that.
fn numbered(mut fields: Fields, payment: &Payment, refunds: &[&Refund]) -> Fields {
    fields.insert("refund_count".to_owned(), refunds.len().to_string());
    for (n, refund) in refunds.iter().enumerate() {
        let mut put = |name: &str, value: &str| {
            fields.insert(format!("{name}_{n}"), value.to_owned());
        };
        put("out_refund_no", &refund.out_refund_no);
        put("refund_id", &refund.refund_id);
        put("refund_channel", "ORIGINAL");
        put("refund_fee", &refund.refund_fee.to_string());
        put("refund_status", refund.status.as_str());
        put("refund_account", &refund.refund_account);
        put("refund_recv_accout", RECEIVER);
        if let (RefundStatus::Success, Some(at)) = (refund.status, refund.ended_at) {
            put("refund_success_time", &spaced(at));
        }
        if let Some(kind) = payment.coupon_type {
            let fee = refund.coupon_refund_fee.to_string();
            put("coupon_refund_fee", &fee);
            put("coupon_refund_count", "1");
            if kind == CouponType::NoCash {
                put("settlement_refund_fee", &refund.settlement_refund_fee.to_string());
            }
            for (name, value) in
                [("coupon_type", coupon_type(kind)), ("coupon_refund_id", COUPON_ID), ("coupon_refund_fee", &fee)]
            {
                fields.insert(format!("{name}_{n}_0"), value.to_owned());
            }
        }
    }
    fields
}

fn not_found() -> Refusal {
    Refusal::Business("REFUNDNOTEXIST", "退款单不存在".to_owned())
}

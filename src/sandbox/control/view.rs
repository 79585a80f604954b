//! The ledger and the arrived requests as JSON: what tests hold the service against.

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::sandbox::faults::On;
use crate::sandbox::ledger::order::{Lifetimes, Order};
use crate::sandbox::ledger::record::Refund;
use crate::sandbox::request_log::Requests;

/// One order, with its state at `now`.
pub(in crate::sandbox) fn order(order: &Order, now: Timestamp, lifetimes: Lifetimes) -> Value {
    let terms = &order.terms;
    let mut warnings = Vec::new();
    if order.closed_at.is_some_and(|at| at < order.created_at.after(lifetimes.before_close)) {
        warnings.push("closed within five minutes of being placed; WeChat asks merchants to wait");
    }
    json!({
        "mch_id": terms.mch_id, "appid": terms.appid, "out_trade_no": terms.out_trade_no,
        "trade_type": terms.trade_type, "state": order.state(now).as_str(),
        "total_fee": terms.total_fee, "fee_type": "CNY", "body": terms.body, "attach": terms.attach,
        "device_info": terms.device_info, "notify_url": terms.notify_url, "openid": terms.openid,
        "sign_type": terms.sign_type, "parameters_sha256": terms.parameters_sha256,
        "created_at": order.created_at, "expires_at": order.expires_at, "closed_at": order.closed_at,
        "prepays": order.prepays, "cancels": order.cancels, "acknowledged": order.acknowledged(None),
        "transaction_id": order.payment.as_ref().map(|p| &p.transaction_id), "warnings": warnings,
    })
}

/// One refund of this order.
pub(in crate::sandbox) fn refund(order: &Order, refund: &Refund) -> Value {
    let mut value = json!(refund);
    value["acknowledged"] = json!(order.acknowledged(Some(&refund.news())));
    value
}

/// The requests about one number.
pub(in crate::sandbox) fn requests(api: On, requests: &Requests) -> Value {
    let mut distinct: Vec<&str> = Vec::new();
    for arrival in &requests.each {
        if !distinct.contains(&arrival.parameters_sha256.as_str()) {
            distinct.push(&arrival.parameters_sha256);
        }
    }
    let each: Vec<Value> = requests
        .each
        .iter()
        .map(|a| {
            let mut each = json!({"at": a.at, "parameters_sha256": a.parameters_sha256, "body_sha256": a.body_sha256});
            if let Some(out_refund_no) = &a.out_refund_no {
                each["out_refund_no"] = json!(out_refund_no);
            }
            each
        })
        .collect();
    json!({
        "api": api, "mch_id": requests.mch_id, "out_trade_no": requests.out_trade_no, "count": requests.count,
        "parameters_sha256": distinct, "each": each,
    })
}

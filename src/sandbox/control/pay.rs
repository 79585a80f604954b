//! `/_sandbox/…`: acting as the payer, reading the state, injecting faults.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::view;
use super::wire::{Answer, Problem, Read};
use crate::ids::OpenId;
use crate::money::Fen;
use crate::sandbox::faults::{Hit, Kind, On, Rule};
use crate::sandbox::ledger::account::{Handle, PayRefused, PayerFunds};
use crate::sandbox::ledger::payment_flow;
use crate::sandbox::ledger::record::CouponType;
use crate::sandbox::notify::notifier::deliver;
use crate::sandbox::state::SandboxState;

pub(in crate::sandbox) fn router() -> Router<Arc<SandboxState>> {
    Router::new()
        .route("/_sandbox/pay", post(pay))
        .route("/_sandbox/cancel", post(cancel))
        .route("/_sandbox/notify", post(notify))
        .route("/_sandbox/ledger", get(ledger))
        .route("/_sandbox/requests", get(requests))
        .route("/_sandbox/faults", post(add_faults).get(list_faults).delete(clear_faults))
}

/// What the payer holds, in one of three forms.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayRequest {
    prepay_id: Option<String>,
    code_url: Option<String>,
    out_trade_no: Option<String>,
    /// May be left out where there is only one merchant.
    mch_id: Option<String>,
    openid: Option<OpenId>,
    coupon_fee: Option<Fen>,
    coupon_type: Option<CouponType>,
    /// Pays what is closed or expired: the payer was in time, the bank was slow.
    #[serde(default)]
    late: bool,
}

/// The merchant meant: the one named, or the only one.
pub(in crate::sandbox) fn merchant<'a>(sandbox: &'a SandboxState, given: Option<&'a str>) -> Result<&'a str, Problem> {
    match given {
        Some(mch_id) => Ok(mch_id),
        None if sandbox.accounts.len() == 1 => Ok(sandbox.accounts.keys().next().map_or("", String::as_str)),
        None => Err(Problem::bad_request("mch_id is needed: there are several merchants")),
    }
}

fn handle<'a>(sandbox: &'a SandboxState, request: &'a PayRequest) -> Result<Handle<'a>, Problem> {
    match (&request.prepay_id, &request.code_url, &request.out_trade_no) {
        (Some(id), None, None) => Ok(Handle::PrepayId(id)),
        (None, Some(url), None) => Ok(Handle::CodeUrl(url)),
        (None, None, Some(out_trade_no)) => {
            Ok(Handle::Number { mch_id: merchant(sandbox, request.mch_id.as_deref())?, out_trade_no })
        }
        _ => Err(Problem::bad_request("give exactly one of prepay_id, code_url, out_trade_no (with mch_id)")),
    }
}

async fn pay(State(sandbox): State<Arc<SandboxState>>, Read(request): Read<PayRequest>) -> Answer {
    let funds = PayerFunds {
        openid: request.openid.clone(),
        coupon_fee: request.coupon_fee.unwrap_or(Fen::ZERO),
        coupon_type: request.coupon_type,
        late: request.late,
    };
    let payment = payment_flow::pay(&sandbox, handle(&sandbox, &request)?, funds)?;
    Ok(Json(json!(payment)))
}

async fn cancel(State(sandbox): State<Arc<SandboxState>>, Read(request): Read<PayRequest>) -> Answer {
    let handle = handle(&sandbox, &request)?;
    let now = sandbox.now();
    let mut book = sandbox.book();
    let order = book.cancel(handle, now)?;
    Ok(Json(view::order(order, now, sandbox.lifetimes)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NotifyRequest {
    out_trade_no: String,
    mch_id: Option<String>,
    /// Tell of this refund instead of the payment.
    out_refund_no: Option<String>,
    /// Rules do not apply here: who asks for a notification gets it, corrupted only on request.
    fault: Option<Kind>,
}

async fn notify(State(sandbox): State<Arc<SandboxState>>, Read(request): Read<NotifyRequest>) -> Answer {
    let on = if request.out_refund_no.is_some() { On::RefundNotify } else { On::Notify };
    if request.fault.is_some_and(|kind| !kind.possible(on)) {
        return Err(Problem::bad_request("this fault is not possible on a notification"));
    }
    let mch_id = merchant(&sandbox, request.mch_id.as_deref())?;
    let notification = {
        let book = sandbox.book();
        let order = book.order(mch_id, &request.out_trade_no).ok_or(Problem::from(PayRefused::NotFound))?;
        match &request.out_refund_no {
            None => sandbox.notification(order).ok_or_else(|| {
                Problem::conflict("not_paid", "WeChat notifies of payments only, and this order is not paid")
            })?,
            Some(number) => {
                let refund = order.refunds.iter().find(|refund| refund.out_refund_no == *number);
                let refund = refund.ok_or_else(|| Problem::not_found("the order has no such out_refund_no"))?;
                sandbox.refund_notification(order, refund).ok_or_else(|| {
                    Problem::conflict("not_ended", "the refund is on its way, or it has no notify_url")
                })?
            }
        }
    };
    let deliveries = deliver(&sandbox, &notification, None, request.fault.map(Hit::plain)).await;
    Ok(Json(json!({"deliveries": deliveries})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    mch_id: Option<String>,
    out_trade_no: Option<String>,
}

impl Filter {
    fn takes(&self, mch_id: &str, out_trade_no: &str) -> bool {
        self.mch_id.as_deref().is_none_or(|m| m == mch_id)
            && self.out_trade_no.as_deref().is_none_or(|n| n == out_trade_no)
    }
}

type Filtered = Result<Query<Filter>, axum::extract::rejection::QueryRejection>;

fn filter(query: Filtered) -> Result<Filter, Problem> {
    query.map(|Query(filter)| filter).map_err(|error| Problem::bad_request(error.body_text()))
}

async fn ledger(State(sandbox): State<Arc<SandboxState>>, query: Filtered) -> Answer {
    let filter = filter(query)?;
    let now = sandbox.now();
    let book = sandbox.book();
    // A poll for one order must not walk through all of them.
    let orders: Vec<_> = match (&filter.mch_id, &filter.out_trade_no) {
        (Some(mch_id), Some(out_trade_no)) => book.order(mch_id, out_trade_no).into_iter().collect(),
        _ => book
            .orders()
            .iter()
            .filter(|o| filter.takes(o.terms.mch_id.as_str(), o.terms.out_trade_no.as_str()))
            .collect(),
    };
    let payments: Vec<_> = orders.iter().filter_map(|o| o.payment.as_ref()).collect();
    let deliveries: Vec<_> = orders.iter().flat_map(|o| &o.deliveries).collect();
    let refunds: Vec<_> = orders.iter().flat_map(|o| o.refunds.iter().map(|r| view::refund(o, r))).collect();
    let shown: Vec<_> = orders.iter().map(|o| view::order(o, now, sandbox.lifetimes)).collect();
    let ledger = json!({"orders": shown, "payments": payments, "deliveries": deliveries, "refunds": refunds});
    drop(book);
    Ok(Json(ledger))
}

async fn requests(State(sandbox): State<Arc<SandboxState>>, query: Filtered) -> Answer {
    let filter = filter(query)?;
    let log = sandbox.request_log();
    let requests: Vec<_> = log
        .requests()
        .filter(|(_, r)| filter.takes(&r.mch_id, &r.out_trade_no))
        .map(|(api, r)| view::requests(api, r))
        .collect();
    let rejected: Vec<_> =
        log.rejected().map(|(api, reason, count)| json!({"api": api, "reason": reason, "count": count})).collect();
    drop(log);
    Ok(Json(json!({"requests": requests, "rejected": rejected})))
}

async fn add_faults(State(sandbox): State<Arc<SandboxState>>, Read(rules): Read<Vec<Rule>>) -> Answer {
    sandbox.faults.add(rules).map_err(Problem::bad_request)?;
    Ok(list_faults(State(sandbox)).await)
}

async fn list_faults(State(sandbox): State<Arc<SandboxState>>) -> Json<Value> {
    Json(json!({"faults": sandbox.faults.list()}))
}

async fn clear_faults(State(sandbox): State<Arc<SandboxState>>) -> Json<Value> {
    sandbox.faults.clear();
    list_faults(State(sandbox)).await
}

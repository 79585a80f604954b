//! `POST /v1/orders/{order_no}/accept`: an operator credits money that is held, or asks a second one to.

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::get::find;
use super::view::OrderJson;
use crate::http::extract::auth::{Authorized, Ops};
use crate::http::extract::json_object::Form;
use crate::http::extract::path::OrderPath;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{MerchantQuery, StrictQuery};
use crate::http::ops::approvals::ApprovalJson;
use crate::http::ops::{operator, tools};
use crate::http::orders::request::plain;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ids::TransactionId;
use crate::ops::money::{self, Accepted};
use crate::store::OrderMoney;

/// The longest reason, in bytes.
const REASON_MAX_BYTES: usize = 500;

pub async fn accept(
    app: HttpState,
    caller: Authorized<Ops>,
    StrictQuery(query): StrictQuery<MerchantQuery>,
    OrderPath(order_no): OrderPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let asked = parse(&body)?;
    let order = find(&app, &caller, query.merchant.as_deref(), &order_no).await?;
    if !app.within_refund_budget(&order.order.merchant) {
        return Err(Error::Unavailable { internal: "the merchant's questions of this second are used up".into() });
    }
    match money::accept(tools(&app), &operator(&caller, client), &order, asked, None).await? {
        Accepted::Done | Accepted::Repeated => {}
        Accepted::Refused(refusal) => return Err(refusal.into()),
        Accepted::Awaits(approval) => {
            let location = format!("/v1/ops/approvals/{}", approval.id);
            let json = axum::Json(ApprovalJson::new(&approval, app.clock.now()));
            return Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], json).into_response());
        }
    }
    let order = find(&app, &caller, query.merchant.as_deref(), &order_no).await?;
    let OrderMoney { order, payments, refunds } = app.store.with_money(order).await?;
    // Without the order's token and pay parameters, which belong to who may place orders.
    Ok(axum::Json(OrderJson::state(&order).with_money(&payments, &refunds)).into_response())
}

fn parse(body: &[u8]) -> Result<(TransactionId, String), Error> {
    let mut form = Form::parse(body)?;
    let transaction_id = form.parsed("transaction_id", TransactionId::parse);
    let reason = plain(&mut form, "reason", REASON_MAX_BYTES).filter(|reason| !reason.trim().is_empty());
    let mut problems = form.finish();
    let is_reported = |name: &str, problems: &[FieldProblem]| problems.iter().any(|p| p.is_about(name));
    for (name, missing) in [("transaction_id", transaction_id.is_none()), ("reason", reason.is_none())] {
        if missing && !is_reported(name, &problems) {
            problems.push(FieldProblem::member(name, "is required"));
        }
    }
    match (transaction_id, reason) {
        (Some(transaction_id), Some(reason)) if problems.is_empty() => Ok((transaction_id, reason)),
        _ => Err(Error::Invalid(problems)),
    }
}

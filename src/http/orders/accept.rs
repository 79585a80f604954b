//! `POST /v1/orders/{order_no}/accept`: an operator credits money that is held.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};

use super::get::find;
use super::view::OrderJson;
use crate::http::extract::auth::{Authorized, Ops};
use crate::http::extract::json_object::Form;
use crate::http::extract::path::OrderPath;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{MerchantQuery, StrictQuery};
use crate::http::ops::operator;
use crate::http::orders::request::plain;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ids::TransactionId;
use crate::ops::money::{self, Accepted};
use crate::order::Refusal;
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
    match money::accept(&app.store, &app.clock, &operator(&caller, client), &order, asked).await? {
        Accepted::Done | Accepted::Repeated => {}
        Accepted::Refused(Refusal::GivenBack) => return Err(Error::PaymentGivenBack),
        Accepted::Refused(Refusal::ForeignPayment) => return Err(Error::PaymentForeign),
        Accepted::Refused(_) => return Err(Error::NotFound("payment of this order")),
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

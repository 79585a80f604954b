//! `GET /v1/payments` and `GET /v1/payments/{transaction_id}`.

use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::view::PaymentJson;
use crate::clock::Timestamp;
use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::cursor;
use crate::http::extract::path::PaymentPath;
use crate::http::extract::query::{MerchantQuery, Params, QueryParams, StrictQuery};
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ids::OrderNo;
use crate::order::PaymentClass;
use crate::store::PaymentFilter;

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1000;

pub struct PaymentsQuery {
    merchant: Option<String>,
    filter: PaymentFilter,
    limit: u64,
}

impl QueryParams for PaymentsQuery {
    const NAMES: &'static [&'static str] = &["merchant", "class", "order_no", "from", "to", "after", "limit"];

    fn read(params: &Params) -> Result<PaymentsQuery, Error> {
        let class = params
            .parsed("class", |text| PaymentClass::parse(text).ok_or("must be credited, held, unmatched or returned"))?;
        let order_no = params.parsed("order_no", |text| OrderNo::parse(text.to_owned()))?;
        let time = |text: &str| Timestamp::parse_rfc3339(text).map_err(|_| "must be a time like 2026-01-02T03:04:05Z");
        let (from, to) = (params.parsed("from", time)?, params.parsed("to", time)?);
        let before_id = params.parsed("after", |text| cursor::read('p', text))?;
        Ok(PaymentsQuery {
            merchant: params.owned("merchant"),
            filter: PaymentFilter { merchants: None, class, order_no, from, to, before_id },
            limit: params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT),
        })
    }
}

/// `GET /v1/payments`: newest first.
pub async fn list(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(PaymentsQuery { merchant, filter, limit }): StrictQuery<PaymentsQuery>,
) -> Result<Response, Error> {
    let merchants = caller.among(&app.config, merchant.as_deref())?;
    let payments = app.store.payments(&PaymentFilter { merchants, ..filter }, limit).await?;
    let more = payments.last().filter(|_| payments.len() as u64 == limit);
    let next = more.map(|last| cursor::write('p', last.id));
    let payments: Vec<PaymentJson<'_>> = payments.iter().map(PaymentJson::new).collect();
    Ok(axum::Json(json!({"payments": payments, "next": next})).into_response())
}

/// `GET /v1/payments/{transaction_id}`: with every change of its class.
pub async fn get(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(query): StrictQuery<MerchantQuery>,
    PaymentPath(transaction_id): PaymentPath,
) -> Result<Response, Error> {
    let named = query.merchant.as_deref();
    let merchant = caller.merchant(&app.config, named, |rule| FieldProblem::parameter("merchant", rule))?;
    let payment = app.store.payment(&merchant.key, &transaction_id).await?.ok_or(Error::NotFound("payment"))?;
    let history = app.store.payment_history(&payment).await?;
    Ok(axum::Json(PaymentJson::new(&payment).with_history(&history)).into_response())
}

//! `GET /v1/webhooks/{id}/deliveries` and `…/{id}/attempts`, `POST …/{id}/recover`.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::request::parse_reason;
use super::view::{attempt_json, delivery_json};
use crate::clock::Timestamp;
use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::client_addr::ClientIp;
use crate::http::extract::cursor;
use crate::http::extract::path::TextPath;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{Params, QueryParams, StrictQuery};
use crate::http::ops::operator;
use crate::http::ops::query::{limit, time};
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ops::webhooks;
use crate::store::DeliveryState;

pub struct DeliveriesQuery {
    state: Option<DeliveryState>,
    before: Option<i64>,
    limit: u64,
}

impl QueryParams for DeliveriesQuery {
    const NAMES: &'static [&'static str] = &["state", "after", "limit"];

    fn read(params: &Params) -> Result<DeliveriesQuery, Error> {
        let rule = "must be pending, delivered, failed or cancelled";
        Ok(DeliveriesQuery {
            state: params.parsed("state", |text| DeliveryState::parse(text).ok_or(rule))?,
            before: params.parsed("after", |text| cursor::read('d', text))?,
            limit: limit(params)?,
        })
    }
}

/// `GET /v1/webhooks/{id}/deliveries`: newest first.
pub async fn list(
    app: HttpState,
    caller: Authorized<Finance>,
    ClientIp(client): ClientIp,
    TextPath(id): TextPath,
    StrictQuery(query): StrictQuery<DeliveriesQuery>,
) -> Result<Response, Error> {
    let page = (query.state, query.before, query.limit);
    let page = webhooks::deliveries(&app.store, &operator(&caller, client), &id, page).await?;
    let rows: Vec<Value> = page.rows.iter().map(delivery_json).collect();
    let next = page.next.map(|id| cursor::write('d', id));
    Ok(axum::Json(json!({"deliveries": rows, "next": next})).into_response())
}

pub struct AttemptsQuery {
    delivery: Option<i64>,
    before: Option<i64>,
    limit: u64,
}

impl QueryParams for AttemptsQuery {
    const NAMES: &'static [&'static str] = &["delivery", "after", "limit"];

    fn read(params: &Params) -> Result<AttemptsQuery, Error> {
        let number = |text: &str| text.parse::<i64>().map_err(|_| "must be a delivery's id");
        Ok(AttemptsQuery {
            delivery: params.parsed("delivery", number)?,
            before: params.parsed("after", |text| cursor::read('t', text))?,
            limit: limit(params)?,
        })
    }
}

/// `GET /v1/webhooks/{id}/attempts`: newest first.
pub async fn attempts(
    app: HttpState,
    caller: Authorized<Finance>,
    ClientIp(client): ClientIp,
    TextPath(id): TextPath,
    StrictQuery(query): StrictQuery<AttemptsQuery>,
) -> Result<Response, Error> {
    let page = (query.delivery, query.before, query.limit);
    let page = webhooks::attempts(&app.store, &operator(&caller, client), &id, page).await?;
    let rows: Vec<Value> = page.rows.iter().map(attempt_json).collect();
    let next = page.next.map(|id| cursor::write('t', id));
    Ok(axum::Json(json!({"attempts": rows, "next": next})).into_response())
}

pub struct RecoverQuery {
    since: Option<Timestamp>,
}

impl QueryParams for RecoverQuery {
    const NAMES: &'static [&'static str] = &["since"];

    fn read(params: &Params) -> Result<RecoverQuery, Error> {
        Ok(RecoverQuery { since: time(params, "since")? })
    }
}

/// `POST /v1/webhooks/{id}/recover?since=`
pub async fn recover(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(query): StrictQuery<RecoverQuery>,
    TextPath(id): TextPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::optional_json(&app, request).await?;
    let reason = parse_reason(&body)?;
    let recovered = webhooks::recover(&app.webhooks, &operator(&caller, client), &id, query.since, reason).await?;
    Ok(axum::Json(json!({"recovered": recovered})).into_response())
}

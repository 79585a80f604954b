//! `/v1/ops/erasures`: the erasure of what is kept of one payer.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::request::parse;
use crate::clock::Timestamp;
use crate::http::extract::auth::{Authorized, Ops};
use crate::http::extract::client_addr::ClientIp;
use crate::http::extract::cursor;
use crate::http::extract::path::RowPath;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{NoQuery, Params, QueryParams, StrictQuery};
use crate::http::ops::operator;
use crate::http::ops::query::limit;
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ops;
use crate::store::{Counts, Erasure};

/// An erasure as callers see it, without the openid.
#[derive(Debug, Serialize)]
pub struct ErasureJson<'a> {
    id: i64,
    state: &'static str,
    app: &'a str,
    payer: &'a str,
    reason: &'a str,
    asked_by: &'a str,
    asked_at: Timestamp,
    changed: i64,
    removed: i64,
    waits_for: &'a Counts,
    error: Option<&'a str>,
    next_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl<'a> ErasureJson<'a> {
    fn new(of: &'a Erasure) -> ErasureJson<'a> {
        ErasureJson {
            id: of.id,
            state: of.state.as_str(),
            app: of.app.as_str(),
            payer: &of.payer,
            reason: &of.reason,
            asked_by: &of.asked_by[0],
            asked_at: of.asked_at,
            changed: of.changed,
            removed: of.removed,
            waits_for: &of.waits_for,
            error: of.error.as_deref(),
            next_at: of.next_at,
            ended_at: of.ended_at,
        }
    }
}

/// `POST /v1/ops/erasures`: `{"app": "shop", "openid": "o…", "reason": "…"}`.
pub async fn ask(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let operator = operator(&caller, client);
    let request = parse(&body, &ops::erasures::apps(&app.config, &operator))?;
    let asked = ops::erasures::ask((&app.store, &app.config), &operator, request, app.clock.now()).await?;
    let asked = asked.ok_or(Error::NotFound("payer"))?;
    Ok((StatusCode::ACCEPTED, axum::Json(ErasureJson::new(&asked))).into_response())
}

pub struct ErasuresQuery {
    before: Option<i64>,
    limit: u64,
}

impl QueryParams for ErasuresQuery {
    const NAMES: &'static [&'static str] = &["after", "limit"];

    fn read(params: &Params) -> Result<ErasuresQuery, Error> {
        Ok(ErasuresQuery { before: params.parsed("after", |text| cursor::read('e', text))?, limit: limit(params)? })
    }
}

/// `GET /v1/ops/erasures`: newest first.
pub async fn list(
    app: HttpState,
    caller: Authorized<Ops>,
    StrictQuery(query): StrictQuery<ErasuresQuery>,
    ClientIp(client): ClientIp,
) -> Result<Response, Error> {
    let place = (query.before, query.limit);
    let page = ops::erasures::list((&app.store, &app.config), &operator(&caller, client), place).await?;
    let rows: Vec<ErasureJson<'_>> = page.rows.iter().map(ErasureJson::new).collect();
    let next = page.next.map(|id| cursor::write('e', id));
    Ok(axum::Json(json!({"erasures": rows, "next": next})).into_response())
}

/// `GET /v1/ops/erasures/{id}`
pub async fn get(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    ClientIp(client): ClientIp,
    RowPath(id): RowPath,
) -> Result<Response, Error> {
    let found = ops::erasures::get((&app.store, &app.config), &operator(&caller, client), id).await?;
    Ok(axum::Json(ErasureJson::new(&found.ok_or(Error::NotFound("erasure"))?)).into_response())
}

//! `GET /v1/refunds`: newest first.

use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::view::RefundJson;
use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::cursor;
use crate::http::extract::query::{Params, QueryParams, StrictQuery};
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::refund::RefundState;

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1000;

pub struct RefundsQuery {
    merchant: Option<String>,
    state: Option<RefundState>,
    before_id: Option<i64>,
    limit: u64,
}

impl QueryParams for RefundsQuery {
    const NAMES: &'static [&'static str] = &["merchant", "state", "after", "limit"];

    fn read(params: &Params) -> Result<RefundsQuery, Error> {
        let state = params.parsed("state", |text| {
            RefundState::parse(text).ok_or("must be requested, unknown, processing, succeeded, abnormal or failed")
        })?;
        Ok(RefundsQuery {
            merchant: params.owned("merchant"),
            state,
            before_id: params.parsed("after", |text| cursor::read('r', text))?,
            limit: params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT),
        })
    }
}

pub async fn list(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(query): StrictQuery<RefundsQuery>,
) -> Result<Response, Error> {
    let merchants = caller.among(&app.config, query.merchant.as_deref())?;
    let refunds = app.store.refunds(merchants.as_deref(), query.state, query.before_id, query.limit).await?;
    let more = refunds.last().filter(|_| refunds.len() as u64 == query.limit);
    let next = more.map(|last| cursor::write('r', last.refund.id));
    let refunds: Vec<RefundJson<'_>> = refunds.iter().map(RefundJson::new).collect();
    Ok(axum::Json(json!({"refunds": refunds, "next": next})).into_response())
}

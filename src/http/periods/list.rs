//! `GET /v1/periods` and `GET /v1/periods/{merchant}/{month}`.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::month::{MonthPath, closing_json, period_json};
use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::query::{NoQuery, Params, QueryParams, StrictQuery};
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ops::reports::{Month, period};

/// Closings of one answer.
const LIMIT: u32 = 1000;

pub struct PeriodsQuery {
    merchant: Option<String>,
    month: Option<Month>,
}

impl QueryParams for PeriodsQuery {
    const NAMES: &'static [&'static str] = &["merchant", "month"];

    fn read(params: &Params) -> Result<PeriodsQuery, Error> {
        let month = params.parsed("month", |text| Month::parse(text).ok_or("must be a month like 2026-11"))?;
        Ok(PeriodsQuery { merchant: params.owned("merchant"), month })
    }
}

/// Every closing, also those that were reopened, the newest month first.
pub async fn list(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(query): StrictQuery<PeriodsQuery>,
) -> Result<Response, Error> {
    let merchants = caller.among(&app.config, query.merchant.as_deref())?;
    let month = query.month.as_ref().map(|month| month.text.as_str());
    let closings = app.store.period_closings(merchants.as_deref(), month, LIMIT).await?;
    let rows: Vec<_> = closings.iter().map(closing_json).collect();
    Ok(axum::Json(json!({"periods": rows})).into_response())
}

/// A month with its figures: frozen where it is closed, of now where it is open.
pub async fn get(
    app: HttpState,
    caller: Authorized<Finance>,
    _: StrictQuery<NoQuery>,
    path: MonthPath,
) -> Result<Response, Error> {
    let named = |rule| FieldProblem::parameter("merchant", rule);
    let merchant = caller.merchant(&app.config, Some(&path.merchant), named)?;
    let view = period(&app.store, &merchant.key, path.month, app.clock.now()).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], period_json(&view)?).into_response())
}

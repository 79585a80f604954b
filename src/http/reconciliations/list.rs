//! `POST /v1/reconciliations`, `GET /v1/reconciliations` and `GET /v1/reconciliations/{merchant}/{date}`.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::path::{DayOrFile, DayPath, day};
use super::request;
use super::view::DayJson;
use crate::http::books::daily::{DetailQuery, detail_file, file_of};
use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{NoQuery, Params, QueryParams, StrictQuery};
use crate::http::ops::operator;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ops;
use crate::ops::reconciliation::AskError;
use crate::store::DayFilter;

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1000;

pub struct DaysQuery {
    merchant: Option<String>,
    filter: DayFilter,
    after: Option<(String, String)>,
    limit: u64,
}

impl QueryParams for DaysQuery {
    const NAMES: &'static [&'static str] = &["merchant", "from", "to", "red", "after", "limit"];

    fn read(params: &Params) -> Result<DaysQuery, Error> {
        let name = |text: &str| day(text).map(|day| day.to_string());
        let (from, to) = (params.parsed("from", name)?, params.parsed("to", name)?);
        if to.as_ref().zip(from.as_ref()).is_some_and(|(to, from)| to < from) {
            return Err(Error::Invalid(vec![FieldProblem::parameter("to", "is before from")]));
        }
        let is_red = params.number("red", 0..=1)? == Some(1);
        Ok(DaysQuery {
            merchant: params.owned("merchant"),
            filter: DayFilter { merchants: None, from, to, is_red },
            after: params.parsed("after", place)?,
            limit: params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT),
        })
    }
}

fn place(text: &str) -> Result<(String, String), &'static str> {
    let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let found = decoded.as_deref().and_then(|text| text.split_once('/'));
    let (date, merchant) = found.ok_or("must be a cursor that an earlier page gave as next")?;
    day(date).map(|day| (day.to_string(), merchant.to_owned()))
}

/// `POST /v1/reconciliations`: `{"merchant", "date"}`; 202 and the day.
pub async fn run(
    app: HttpState,
    caller: Authorized<Finance>,
    _: StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let (named, date) = request::run(&body)?;
    let problem = |rule| FieldProblem::member("merchant", rule);
    let merchant = caller.merchant(&app.config, named.as_deref(), problem)?;
    let by = operator(&caller, client);
    let asked = ops::reconciliation::ask((&app.store, &app.clock), &by, &merchant.key, date).await;
    let asked = asked.map_err(|e| match e {
        AskError::Day(rule) => Error::Invalid(vec![FieldProblem::member("date", rule)]),
        AskError::NotKept { oldest } => Error::BillNotKept { oldest },
        AskError::Store(e) => e.into(),
    })?;
    let mut response = (StatusCode::ACCEPTED, axum::Json(DayJson::new(&asked.day))).into_response();
    let location = format!("/v1/reconciliations/{}/{date}", merchant.key);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/reconciliations`: the newest day first.
pub async fn list(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(DaysQuery { merchant, filter, after, limit }): StrictQuery<DaysQuery>,
) -> Result<Response, Error> {
    let merchants = caller.among(&app.config, merchant.as_deref())?;
    let filter = DayFilter { merchants, ..filter };
    let after = after.as_ref().map(|(day, merchant)| (day.as_str(), merchant.as_str()));
    let page = ops::reconciliation::days(&app.store, &filter, after, limit).await?;
    let days: Vec<DayJson<'_>> = page.rows.iter().map(DayJson::new).collect();
    let next = page.next.map(|(day, merchant)| URL_SAFE_NO_PAD.encode(format!("{day}/{merchant}")));
    Ok(axum::Json(json!({"reconciliations": days, "next": next})).into_response())
}

/// `GET /v1/reconciliations/{merchant}/{date}`; with `.csv` or `.xlsx` behind the date, the lines of the day as a file.
pub async fn get(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(query): StrictQuery<DetailQuery>,
    DayOrFile { merchant, text }: DayOrFile,
) -> Result<Response, Error> {
    if let Some((begin, kind)) = file_of(&text) {
        return detail_file(&app, &caller, query, (&merchant, begin, kind)).await;
    }
    if query.is_asked() {
        return Err(Error::Invalid(vec![FieldProblem::parameter(
            "columns",
            "and lang are of files: DATE.csv, DATE.xlsx",
        )]));
    }
    let problem = |rule| Error::Invalid(vec![FieldProblem::parameter("date", rule)]);
    let path = DayPath { merchant, day: day(&text).map_err(problem)?, line: None };
    let day = path.found(&app, &caller).await?;
    let repair = ops::reconciliation::progress(&app.store, &day).await?;
    Ok(axum::Json(DayJson::new(&day).with(repair.as_ref())).into_response())
}

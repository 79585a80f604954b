//! `GET /v1/reconciliations/{merchant}/{date}/lines`, `POST …/lines/{id}/resolve`, `POST …/repair` and
//! `POST …/repair/stop`.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::path::DayPath;
use super::request;
use super::view::{LineJson, OutcomeJson, PlanJson, RepairJson};
use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::cursor;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{NoQuery, Params, QueryParams, StrictQuery};
use crate::http::ops::operator;
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ops;
use crate::ops::Page;
use crate::ops::reconciliation::{Repair, RepairError, Resolved};
use crate::reconciliation::LineClass;

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1000;

pub struct LinesQuery {
    class: Option<LineClass>,
    after: Option<i64>,
    limit: u64,
}

impl QueryParams for LinesQuery {
    const NAMES: &'static [&'static str] = &["class", "after", "limit"];

    fn read(params: &Params) -> Result<LinesQuery, Error> {
        Ok(LinesQuery {
            class: params.parsed("class", |text| LineClass::parse(text).ok_or("must be a class of lines"))?,
            after: params.parsed("after", |text| cursor::read('l', text))?,
            limit: params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT),
        })
    }
}

/// `GET …/lines`: differences and carried rows; matched ones are counted, not kept.
pub async fn list(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(query): StrictQuery<LinesQuery>,
    path: DayPath,
) -> Result<Response, Error> {
    let day = path.found(&app, &caller).await?;
    let page = ops::reconciliation::lines(&app.store, &day, query.class, query.after, query.limit).await?;
    let lines: Vec<LineJson<'_>> = page.rows.iter().map(LineJson::new).collect();
    let next = page.next.map(|id| cursor::write('l', id));
    Ok(axum::Json(json!({"lines": lines, "next": next})).into_response())
}

/// `POST …/lines/{id}/resolve`: `{"note": "…"}`.
pub async fn resolve(
    app: HttpState,
    caller: Authorized<Finance>,
    _: StrictQuery<NoQuery>,
    path: DayPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let note = request::note(&body)?;
    let day = path.found(&app, &caller).await?;
    let line = path.line(&app, &day).await?;
    let by = operator(&caller, client);
    match ops::reconciliation::resolve((&app.store, &app.clock), &by, &day, &line, note).await? {
        Resolved::Done => {}
        Resolved::NotOpen => return Err(Error::LineNotOpen),
    }
    let line = path.line(&app, &day).await?;
    Ok(axum::Json(LineJson::new(&line)).into_response())
}

/// `POST …/repair`: a page of the plan; with `"dry_run": false` and a reason it is carried out: the first lines now,
/// the rest in the background.
pub async fn repair(
    app: HttpState,
    caller: Authorized<Finance>,
    _: StrictQuery<NoQuery>,
    path: DayPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::optional_json(&app, request).await?;
    let asked = request::repair(&body)?;
    let merchant = path.merchant(&app, &caller)?;
    let day = path.found(&app, &caller).await?;
    let on = Repair { store: &app.store, bus: &app.bus, config: &app.config, clock: &app.clock, wechat: &app.wechat };
    if asked.is_dry {
        let page = match asked.line {
            Some(_) => Page { rows: ops::reconciliation::plan(on, &day, asked.line).await?, next: None },
            None => ops::reconciliation::plan_page(on, &day, asked.after.unwrap_or_default()).await?,
        };
        let items: Vec<PlanJson<'_>> = page.rows.iter().map(PlanJson::new).collect();
        return Ok(axum::Json(json!({"dry_run": true, "plan": items, "next": page.next})).into_response());
    }
    let by = operator(&caller, client);
    let outcomes = ops::reconciliation::apply(on, &by, &day, (merchant, asked.line, asked.reason)).await?;
    let items: Vec<OutcomeJson<'_>> = outcomes.iter().map(OutcomeJson::new).collect();
    let repair = ops::reconciliation::progress(&app.store, &day).await?;
    let repair = repair.as_ref().map(RepairJson::new);
    Ok(axum::Json(json!({"dry_run": false, "results": items, "repair": repair})).into_response())
}

/// `POST …/repair/stop`: `{"reason": "…"}`. One that is over stays as it is.
pub async fn stop(
    app: HttpState,
    caller: Authorized<Finance>,
    _: StrictQuery<NoQuery>,
    path: DayPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let reason = request::reason(&body)?;
    let day = path.found(&app, &caller).await?;
    let on = Repair { store: &app.store, bus: &app.bus, config: &app.config, clock: &app.clock, wechat: &app.wechat };
    let stopped = ops::reconciliation::stop(on, &operator(&caller, client), &day, reason).await?;
    stopped.ok_or(Error::NotFound("repair"))?;
    let repair = ops::reconciliation::progress(&app.store, &day).await?;
    let repair = repair.as_ref().map(RepairJson::new);
    Ok(axum::Json(json!({"repair": repair})).into_response())
}

impl From<RepairError> for Error {
    fn from(e: RepairError) -> Error {
        match e {
            RepairError::Command(e) => e.into(),
            RepairError::Store(e) => e.into(),
        }
    }
}

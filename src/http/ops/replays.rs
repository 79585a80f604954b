//! `POST /v1/ops/replays` plans, `…/{id}/start`, `/pause`, `/resume` and `/cancel` change the plan's state,
//! `GET …`, `…/{id}` and `…/{id}/items` show how far they are.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::query::limit;
use super::replay_request::{cap, parse};
use super::{operator, tools};
use crate::http::extract::auth::{Authorized, Ops};
use crate::http::extract::client_addr::ClientIp;
use crate::http::extract::cursor;
use crate::http::extract::path::TextPath;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{NoQuery, Params, QueryParams, StrictQuery};
use crate::http::problem::{At, Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ops::replay;
use crate::ops::replay::{Action, Changed, MAX_ITEMS, ReplayError, View};
use crate::store::{Replay, ReplayItem, ReplayResult, ReplayState};

/// `POST /v1/ops/replays`
pub async fn plan(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let (request, merchant) = parse(&body)?;
    let request = cap(request, caller.among(&app.config, merchant.as_deref())?);
    let view = replay::plan(tools(&app), &operator(&caller, client), request).await?;
    let location = HeaderValue::from_str(&format!("/v1/ops/replays/{}", view.replay.id));
    let mut response = answer(StatusCode::CREATED, json(&view));
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub struct ReplaysQuery {
    state: Option<ReplayState>,
    after: Option<String>,
    limit: u64,
}

impl QueryParams for ReplaysQuery {
    const NAMES: &'static [&'static str] = &["state", "after", "limit"];

    fn read(params: &Params) -> Result<ReplaysQuery, Error> {
        let rule = "must be planned, running, paused, done or cancelled";
        Ok(ReplaysQuery {
            state: params.parsed("state", |text| ReplayState::parse(text).ok_or(rule))?,
            after: params.owned("after"),
            limit: limit(params)?,
        })
    }
}

/// `GET /v1/ops/replays`: newest first.
pub async fn list(
    app: HttpState,
    caller: Authorized<Ops>,
    StrictQuery(query): StrictQuery<ReplaysQuery>,
    ClientIp(client): ClientIp,
) -> Result<Response, Error> {
    let page = (query.state, query.after, query.limit);
    let page = replay::list(&app.store, &operator(&caller, client), page).await?;
    let mut body = Map::new();
    let rows: Vec<Value> = page.rows.iter().map(|replay| head(replay).into()).collect();
    body.insert("replays".into(), rows.into());
    body.insert("next".into(), page.next.into());
    Ok(answer(StatusCode::OK, body))
}

/// `GET /v1/ops/replays/{id}`
pub async fn get(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    ClientIp(client): ClientIp,
    TextPath(id): TextPath,
) -> Result<Response, Error> {
    let view = replay::get(&app.store, &operator(&caller, client), &id).await?;
    Ok(answer(StatusCode::OK, json(&view)))
}

/// `POST /v1/ops/replays/{id}/start`
pub async fn start(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    ClientIp(client): ClientIp,
    TextPath(id): TextPath,
) -> Result<Response, Error> {
    let (view, changed) = replay::start(tools(&app), &operator(&caller, client), &id).await?;
    let mut body = json(&view);
    let changed = changed.into_iter().map(|Changed { n, was, now }| json!({"n": n, "was": was, "now": now}));
    body.insert("changed".into(), changed.collect());
    Ok(answer(StatusCode::ACCEPTED, body))
}

/// `POST /v1/ops/replays/{id}/pause`
pub async fn pause(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    ClientIp(client): ClientIp,
    TextPath(id): TextPath,
) -> Result<Response, Error> {
    let view = replay::act(&app.store, &app.clock, &operator(&caller, client), &id, Action::Pause).await?;
    Ok(answer(StatusCode::OK, json(&view)))
}

/// `POST /v1/ops/replays/{id}/resume`
pub async fn resume(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    ClientIp(client): ClientIp,
    TextPath(id): TextPath,
) -> Result<Response, Error> {
    let view = replay::act(&app.store, &app.clock, &operator(&caller, client), &id, Action::Resume).await?;
    Ok(answer(StatusCode::OK, json(&view)))
}

/// `POST /v1/ops/replays/{id}/cancel`
pub async fn cancel(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    ClientIp(client): ClientIp,
    TextPath(id): TextPath,
) -> Result<Response, Error> {
    let view = replay::act(&app.store, &app.clock, &operator(&caller, client), &id, Action::Cancel).await?;
    Ok(answer(StatusCode::OK, json(&view)))
}

pub struct ItemsQuery {
    result: Option<ReplayResult>,
    after: i64,
    limit: u64,
}

impl QueryParams for ItemsQuery {
    const NAMES: &'static [&'static str] = &["result", "after", "limit"];

    fn read(params: &Params) -> Result<ItemsQuery, Error> {
        Ok(ItemsQuery {
            result: params
                .parsed("result", |text| ReplayResult::parse(text).ok_or("must be settled, no_op or failed"))?,
            after: params.parsed("after", |text| cursor::read('i', text))?.unwrap_or(0),
            limit: limit(params)?,
        })
    }
}

/// `GET /v1/ops/replays/{id}/items`
pub async fn items(
    app: HttpState,
    caller: Authorized<Ops>,
    StrictQuery(query): StrictQuery<ItemsQuery>,
    ClientIp(client): ClientIp,
    TextPath(id): TextPath,
) -> Result<Response, Error> {
    let page = (query.after, query.result, query.limit);
    let (items, next) = replay::items(&app.store, &operator(&caller, client), &id, page).await?;
    let items: Vec<Value> = items.iter().map(item_json).collect();
    let mut body = Map::new();
    body.insert("items".into(), items.into());
    body.insert("next".into(), next.map(|n| cursor::write('i', n)).into());
    Ok(answer(StatusCode::OK, body))
}

impl From<ReplayError> for Error {
    fn from(e: ReplayError) -> Error {
        match e {
            ReplayError::NotFound => Error::NotFound("replay"),
            ReplayError::TooMany => Error::Invalid(vec![FieldProblem {
                at: At::Pointer("/select".into()),
                message: format!("must select at most {MAX_ITEMS} rows"),
            }]),
            ReplayError::State(state) => Error::ReplayState(state),
            ReplayError::Store(e) => e.into(),
        }
    }
}

fn answer(status: StatusCode, body: Map<String, Value>) -> Response {
    (status, axum::Json(Value::Object(body))).into_response()
}

/// What is fixed about a replay, and its state.
fn head(replay: &Replay) -> Map<String, Value> {
    let select: Value = serde_json::from_str(&replay.selection).unwrap_or_default();
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    set("id", replay.id.as_str().into());
    set("kind", replay.kind.as_str().into());
    set("state", replay.state.as_str().into());
    set("total", replay.total.into());
    set("reason", replay.reason.as_str().into());
    set("rate_per_second", replay.rate_per_second.into());
    set("select", select);
    set("planned_by", replay.planned_by.as_str().into());
    set("started_by", replay.started_by.clone().into());
    set("created_at", json!(replay.created_at));
    set("started_at", json!(replay.started_at));
    set("ended_at", json!(replay.ended_at));
    body
}

fn json(view: &View) -> Map<String, Value> {
    let View { replay, counts } = view;
    let mut body = Map::new();
    let (would_settle, no_op) = (counts.would_settle, counts.no_op);
    for (name, value) in head(replay) {
        let is_total = name == "total";
        body.insert(name, value);
        if is_total {
            let predicted = json!({"would_settle": would_settle, "no_op": no_op, "still_fails": counts.still_fails});
            let results = json!({"settled": counts.settled, "no_op": counts.did_nothing, "failed": counts.failed});
            body.insert("to_do".into(), would_settle.into());
            body.insert("predicted".into(), predicted);
            body.insert("done".into(), counts.done().into());
            body.insert("results".into(), results);
        }
    }
    body
}

fn item_json(item: &ReplayItem) -> Value {
    json!({
        "n": item.n,
        "source": item.source.as_str(),
        "id": item.source_id,
        "merchant": Some(&item.merchant).filter(|merchant| !merchant.is_empty()),
        "out_trade_no": item.out_trade_no,
        "predicted": item.predicted.as_str(),
        "predicted_reason": item.predicted_reason,
        "result": item.result.map(ReplayResult::as_str),
        "reason": item.result_reason,
        "error": item.error,
        "done_at": item.done_at,
    })
}

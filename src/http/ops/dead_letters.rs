//! `GET /v1/ops/dead-letters`, `…/groups`, `…/{id}` and `POST …/{id}/discard`.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::operator;
use super::query::{limit, reason_of_body, time};
use crate::clock::Timestamp;
use crate::http::extract::auth::{Authorized, Ops};
use crate::http::extract::client_addr::ClientIp;
use crate::http::extract::cursor;
use crate::http::extract::path::RowPath;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{NoQuery, Params, QueryParams, StrictQuery};
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ops;
use crate::ops::mask;
use crate::ops::reason::ReasonClass;
use crate::store::{DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetterRow, DeadLetterState, Discarded};

pub struct DeadLettersQuery {
    merchant: Option<String>,
    filter: DeadLetterFilter,
    limit: u64,
}

impl QueryParams for DeadLettersQuery {
    const NAMES: &'static [&'static str] =
        &["merchant", "state", "reason", "consumer", "order_no", "event_id", "from", "to", "after", "limit"];

    fn read(params: &Params) -> Result<DeadLettersQuery, Error> {
        let state = params
            .parsed("state", |text| DeadLetterState::parse(text).ok_or("must be parked, replayed or discarded"))?;
        Ok(DeadLettersQuery {
            merchant: params.owned("merchant"),
            filter: DeadLetterFilter {
                merchants: None,
                state,
                reason: params.owned("reason"),
                consumer: params.owned("consumer"),
                order_no: params.owned("order_no"),
                event_id: params.owned("event_id"),
                from: time(params, "from")?,
                to: time(params, "to")?,
                before_id: params.parsed("after", |text| cursor::read('d', text))?,
            },
            limit: limit(params)?,
        })
    }
}

#[derive(Serialize)]
struct DeadLetterJson<'a> {
    id: i64,
    merchant: Option<String>,
    order_no: Option<&'a str>,
    reason: &'a str,
    means: Option<&'static str>,
    mend: Option<&'static str>,
    state: &'static str,
    consumer: &'a str,
    event_id: &'a str,
    subject: &'a str,
    attempts: i64,
    first_error: &'a str,
    last_error: &'a str,
    parked_at: Timestamp,
    ended_at: Option<Timestamp>,
    ended_by: Option<&'a str>,
    ended_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct GroupJson<'a> {
    reason: &'a str,
    means: Option<&'static str>,
    mend: Option<&'static str>,
    consumer: &'a str,
    count: i64,
    first: Timestamp,
    last: Timestamp,
}

#[derive(Serialize)]
struct AttemptJson<'a> {
    attempt: i64,
    at: Option<Timestamp>,
    error: &'a str,
}

impl<'a> DeadLetterJson<'a> {
    fn new(row: &'a DeadLetterRow) -> DeadLetterJson<'a> {
        let class = ReasonClass::parse(&row.reason);
        DeadLetterJson {
            id: row.id,
            merchant: row.merchant().map(|merchant| merchant.to_string()),
            order_no: row.order_no.as_deref(),
            reason: &row.reason,
            means: class.map(ReasonClass::sentence),
            mend: class.map(ReasonClass::mend),
            state: row.state.as_str(),
            consumer: &row.consumer,
            event_id: &row.event_id,
            subject: &row.subject,
            attempts: row.attempts,
            first_error: &row.first_error,
            last_error: &row.last_error,
            parked_at: row.parked_at,
            ended_at: row.ended_at,
            ended_by: row.ended_by.as_deref(),
            ended_reason: row.ended_reason.as_deref(),
        }
    }
}

impl<'a> GroupJson<'a> {
    fn new(group: &'a DeadLetterGroup) -> GroupJson<'a> {
        let class = ReasonClass::parse(&group.reason);
        GroupJson {
            reason: &group.reason,
            means: class.map(ReasonClass::sentence),
            mend: class.map(ReasonClass::mend),
            consumer: &group.consumer,
            count: group.count,
            first: group.first,
            last: group.last,
        }
    }
}

/// `GET /v1/ops/dead-letters`: newest first.
pub async fn list(
    app: HttpState,
    caller: Authorized<Ops>,
    StrictQuery(DeadLettersQuery { merchant, filter, limit }): StrictQuery<DeadLettersQuery>,
) -> Result<Response, Error> {
    let merchants = caller.among(&app.config, merchant.as_deref())?;
    let page = ops::dead_letters::list(&app.store, &DeadLetterFilter { merchants, ..filter }, limit).await?;
    let rows: Vec<DeadLetterJson<'_>> = page.rows.iter().map(DeadLetterJson::new).collect();
    let next = page.next.map(|id| cursor::write('d', id));
    Ok(axum::Json(json!({"dead_letters": rows, "next": next})).into_response())
}

/// `GET /v1/ops/dead-letters/groups`: what waits for a person, the largest group first.
pub async fn groups(
    app: HttpState,
    caller: Authorized<Ops>,
    ClientIp(client): ClientIp,
    _: StrictQuery<NoQuery>,
) -> Result<Response, Error> {
    let groups = ops::dead_letters::groups(&app.store, &operator(&caller, client)).await?;
    let rows: Vec<GroupJson<'_>> = groups.iter().map(GroupJson::new).collect();
    Ok(axum::Json(json!({"groups": rows})).into_response())
}

/// `GET /v1/ops/dead-letters/{id}`: with its message, masked, and its attempts.
pub async fn get(
    app: HttpState,
    caller: Authorized<Ops>,
    ClientIp(client): ClientIp,
    _: StrictQuery<NoQuery>,
    RowPath(id): RowPath,
) -> Result<Response, Error> {
    let by = operator(&caller, client);
    let found = ops::dead_letters::view(&app.store, &by, id, app.clock.now()).await?;
    let found = found.ok_or(Error::NotFound("dead letter"))?;
    Ok(axum::Json(whole(&found)).into_response())
}

/// `POST /v1/ops/dead-letters/{id}/discard`: `{"reason": "…"}`.
pub async fn discard(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    RowPath(id): RowPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let reason = reason_of_body(&body)?;
    let operator = operator(&caller, client);
    match ops::dead_letters::discard(&app.store, &operator, id, &reason, app.clock.now()).await? {
        Discarded::Now | Discarded::Before => {}
        Discarded::Replayed => return Err(Error::DeadLetterEnded),
        Discarded::None => return Err(Error::NotFound("dead letter")),
    }
    let found = ops::dead_letters::get(&app.store, &operator, id).await?.ok_or(Error::NotFound("dead letter"))?;
    Ok(axum::Json(DeadLetterJson::new(&found.row)).into_response())
}

fn whole(found: &DeadLetter) -> Value {
    let attempts = ops::dead_letters::attempts(found).into_iter();
    let attempts: Vec<_> = attempts.map(|(attempt, at, error)| AttemptJson { attempt, at, error }).collect();
    let mut value = json!(DeadLetterJson::new(&found.row));
    value["attempt_list"] = json!(attempts);
    value["message"] = mask::message(&found.payload).unwrap_or(Value::Null);
    value["message_bytes"] = json!(found.payload.len());
    value
}

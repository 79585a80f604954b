//! `GET /v1/events`: the domain events in order, for those without NATS.
//!
//! At least once: a reader keeps `next` after it has worked off a page. A cursor is opaque to it; inside is the
//! position in the feed, which never changes for an event.

use std::time::Duration;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::query::{Params, QueryParams, StrictQuery};
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::store::FeedEvent;

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1000;
const MAX_WAIT_SECONDS: u64 = 30;

/// Every event type, without the `wxpay.` before and the `.v1` behind.
pub const ENTITY_FACTS: &[&str] = &[
    "order.payable",
    "order.paid",
    "order.paid_late",
    "order.paid_twice",
    "order.closed",
    "order.failed",
    "refund.requested",
    "refund.delayed",
    "refund.succeeded",
    "refund.abnormal",
    "refund.failed",
    "payment.orphaned",
    "notification.rejected",
    "dead_letter.parked",
    "app.degraded",
    "app.recovered",
];

#[derive(Serialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    next: String,
}

pub struct FeedQuery {
    after: i64,
    types: Vec<String>,
    limit: u64,
    wait: Duration,
}

impl QueryParams for FeedQuery {
    const NAMES: &'static [&'static str] = &["after", "types", "limit", "wait"];

    fn read(params: &Params) -> Result<FeedQuery, Error> {
        Ok(FeedQuery {
            after: params.get("after").map_or(Ok(0), cursor_position)?,
            types: params.get("types").map_or(Ok(Vec::new()), event_types)?,
            limit: params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT),
            wait: Duration::from_secs(params.number("wait", 0..=MAX_WAIT_SECONDS)?.unwrap_or(0)),
        })
    }
}

pub async fn events(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(FeedQuery { after, types, limit, wait }): StrictQuery<FeedQuery>,
) -> Result<Response, Error> {
    let deadline = Instant::now() + wait;
    loop {
        // The end is read first: what is placed meanwhile lies behind it and is not skipped.
        let end = app.store.feed_end().await?;
        let found = app.store.events_after(after, &types, caller.merchants(), limit).await?;
        if found.is_empty() && Instant::now() < deadline && app.feed.wait_beyond(end, deadline).await {
            continue;
        }
        let last = found.last().map_or(after, |event| event.position);
        // A short page has seen everything up to the end, whatever its filters left out.
        let seen_all = (found.len() as u64) < limit;
        let next = cursor(if seen_all { last.max(end) } else { last });
        let events = found.into_iter().map(raw).collect::<Result<_, _>>()?;
        let mut response = axum::Json(Page { events, next }).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return Ok(response);
    }
}

fn raw(event: FeedEvent) -> Result<Box<RawValue>, Error> {
    RawValue::from_string(event.payload)
        .map_err(|e| Error::Internal { internal: format!("event {}: {e}", event.event_id) })
}

fn cursor(position: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("e{position}"))
}

fn cursor_position(text: &str) -> Result<i64, Error> {
    let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let position = decoded.as_deref().and_then(|text| text.strip_prefix('e')).and_then(|n| n.parse::<i64>().ok());
    position.filter(|position| *position >= 0).ok_or_else(|| {
        Error::Invalid(vec![FieldProblem::parameter("after", "must be a cursor that an earlier page gave as next")])
    })
}

/// `types=order.paid,order.closed`, or with the full names.
fn event_types(text: &str) -> Result<Vec<String>, Error> {
    let mut types = Vec::new();
    let mut problems = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let entity_fact = name.strip_prefix("wxpay.").and_then(|rest| rest.strip_suffix(".v1")).unwrap_or(name);
        if ENTITY_FACTS.contains(&entity_fact) {
            types.push(format!("wxpay.{entity_fact}.v1"));
        } else {
            let known = ENTITY_FACTS.join(", ");
            problems.push(FieldProblem::parameter("types", format!("holds an unknown type; known are {known}")));
        }
    }
    if problems.is_empty() { Ok(types) } else { Err(Error::Invalid(problems)) }
}

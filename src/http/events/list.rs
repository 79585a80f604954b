//! `GET /v1/events`: the domain events in order, for those without NATS.
//!
//! At least once: a reader keeps `next` after it has worked off a page. A cursor is opaque to it.

use std::time::Duration;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::cursor::Cursor;
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
    "payment.held",
    "payment.accepted",
    "payment.orphaned",
    "notification.rejected",
    "dead_letter.parked",
    "app.degraded",
    "app.recovered",
    "merchant.degraded",
    "merchant.recovered",
];

#[derive(Serialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    next: String,
}

pub struct FeedQuery {
    after: Option<Cursor>,
    types: Vec<String>,
    limit: u64,
    wait: Duration,
}

impl QueryParams for FeedQuery {
    const NAMES: &'static [&'static str] = &["after", "types", "limit", "wait"];

    fn read(params: &Params) -> Result<FeedQuery, Error> {
        Ok(FeedQuery {
            after: params.get("after").map(Cursor::parse).transpose()?,
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
    let from = after.as_ref().map_or(0, |cursor| cursor.position);
    loop {
        // The end is read first: what is placed meanwhile lies behind it and is not skipped.
        let end = app.store.feed_end().await?;
        let found = app.store.events_after(from, &types, caller.merchants(), limit).await?;
        if let Some(cursor) = &after {
            cursor.check(&app.store, &end).await?;
        }
        if found.is_empty() && Instant::now() < deadline && app.feed.wait_beyond(end.position, deadline).await {
            continue;
        }
        // A short page has seen everything up to the end, whatever its filters left out.
        let seen_all = (found.len() as u64) < limit;
        let next = match found.last() {
            Some(last) if !seen_all || last.position > end.position => {
                Cursor::behind(&end.epoch, last.position, Some(&last.event_id))
            }
            Some(_) | None => Cursor::behind(&end.epoch, end.position, end.event_id.as_deref()),
        };
        let events = found.into_iter().map(raw).collect::<Result<_, _>>()?;
        let mut response = axum::Json(Page { events, next: next.to_text() }).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return Ok(response);
    }
}

fn raw(event: FeedEvent) -> Result<Box<RawValue>, Error> {
    let broken = |e: &dyn std::fmt::Display| Error::Internal { internal: format!("event {}: {e}", event.event_id) };
    RawValue::from_string(event.payload.map_err(|e| broken(&e))?).map_err(|e| broken(&e))
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

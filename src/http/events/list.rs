//! `GET /v1/events`: the domain events in order, for those without NATS.
//!
//! At least once: a reader keeps `next` after it has worked off a page. A cursor is opaque to it.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::cursor::Cursor;
use crate::clock::Timestamp;
use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::query::{Params, QueryParams, StrictQuery};
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::store::{FeedEvent, FeedRange};

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
    "webhook.disabled",
    "approval.waiting",
    "bill.reconciled",
    "bill.mismatch_found",
    "bill.failed",
];

#[derive(Serialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    next: String,
}

pub struct FeedQuery {
    after: Option<Cursor>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    types: Vec<String>,
    limit: u64,
    wait: Duration,
}

impl QueryParams for FeedQuery {
    const NAMES: &'static [&'static str] = &["after", "since", "until", "types", "limit", "wait"];

    fn read(params: &Params) -> Result<FeedQuery, Error> {
        let time = |text: &str| Timestamp::parse_rfc3339(text).map_err(|_| "must be a time like 2026-01-02T03:04:05Z");
        let (since, until) = (params.parsed("since", time)?, params.parsed("until", time)?);
        if until.zip(since).is_some_and(|(until, since)| until < since) {
            return Err(Error::Invalid(vec![FieldProblem::parameter("until", "is before since")]));
        }
        Ok(FeedQuery {
            after: params.get("after").map(Cursor::parse).transpose()?,
            since,
            until,
            types: params.get("types").map_or(Ok(Vec::new()), event_types)?,
            limit: params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT),
            wait: Duration::from_secs(params.number("wait", 0..=MAX_WAIT_SECONDS)?.unwrap_or(0)),
        })
    }
}

pub async fn events(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(query): StrictQuery<FeedQuery>,
) -> Result<Response, Error> {
    let FeedQuery { after, since, until, types, limit, wait } = query;
    let deadline = Instant::now() + wait;
    let from = after.as_ref().map_or(0, |cursor| cursor.position);
    let from = match since {
        Some(since) => from.max(app.store.position_before(since).await?),
        None => from,
    };
    loop {
        let now = app.clock.now();
        // The end is read first: what is placed meanwhile lies behind it and is not skipped.
        let end = app.store.feed_end().await?;
        let range = FeedRange { after: from, since, until };
        let found = app.store.events_between(&range, &types, caller.merchants(), limit).await?;
        if let Some(cursor) = &after {
            cursor.check(&app.store, &end).await?;
        }
        let is_over = until.is_some_and(|until| until <= now);
        let waits = found.is_empty() && !is_over && Instant::now() < deadline;
        if waits && app.feed.wait_beyond(end.position, deadline).await {
            continue;
        }
        // A short page has seen everything up to the end, whatever its filters left out; with `until` it has not.
        let seen_all = (found.len() as u64) < limit && until.is_none();
        let next = match (found.last(), after) {
            (Some(last), _) if !seen_all || last.position > end.position => {
                Cursor::behind(&end.epoch, last.position, Some(&last.event_id))
            }
            (None, Some(after)) if until.is_some() => after,
            _ => Cursor::behind(&end.epoch, end.position, end.event_id.as_deref()),
        };
        let events = found.into_iter().map(raw).collect::<Result<_, _>>()?;
        return Ok(axum::Json(Page { events, next: next.to_text() }).into_response());
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

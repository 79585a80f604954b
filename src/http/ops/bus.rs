//! `GET /v1/ops/bus`: streams and consumers of the queue. `GET /v1/ops/bus/{stream}/messages`: messages, read and left
//! where they are.

use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::operator;
use super::query::limit;
use crate::bus::{Lag, Peek, Peeked, StreamView};
use crate::http::extract::auth::{Authorized, Ops};
use crate::http::extract::client_addr::ClientIp;
use crate::http::extract::path::TextPath;
use crate::http::extract::query::{NoQuery, Params, QueryParams, StrictQuery};
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ops;
use crate::ops::mask;

pub struct MessagesQuery {
    consumer: Option<String>,
    after: u64,
    limit: u64,
}

impl QueryParams for MessagesQuery {
    const NAMES: &'static [&'static str] = &["consumer", "after", "limit"];

    fn read(params: &Params) -> Result<MessagesQuery, Error> {
        Ok(MessagesQuery {
            consumer: params.owned("consumer"),
            after: params.number("after", 0..=u64::MAX)?.unwrap_or(0),
            limit: limit(params)?,
        })
    }
}

/// `GET /v1/ops/bus`
pub async fn overview(app: HttpState, _caller: Authorized<Ops>, _: StrictQuery<NoQuery>) -> Result<Response, Error> {
    let (streams, lags) = ops::bus::overview(&app.bus).await?;
    let consumers: Vec<Value> = lags.iter().map(|lag| consumer(lag, &streams)).collect();
    let streams: Vec<Value> = streams.iter().map(stream).collect();
    let kind = if app.bus.has_outside_subscribers() { "nats" } else { "embedded" };
    Ok(fresh(&json!({"kind": kind, "streams": streams, "consumers": consumers})))
}

/// `GET /v1/ops/bus/{stream}/messages`
pub async fn messages(
    app: HttpState,
    caller: Authorized<Ops>,
    ClientIp(client): ClientIp,
    StrictQuery(MessagesQuery { consumer, after, limit }): StrictQuery<MessagesQuery>,
    TextPath(stream): TextPath,
) -> Result<Response, Error> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let peek = Peek { stream, consumer, after, limit };
    let found = ops::bus::peek(&app.bus, &operator(&caller, client), &peek).await?;
    let found = found.ok_or(Error::NotFound("stream or consumer"))?;
    let rows: Vec<Value> = found.rows.iter().map(message).collect();
    let next = found.next.map(|seq| seq.to_string());
    Ok(fresh(&json!({"messages": rows, "next": next})))
}

fn stream(view: &StreamView) -> Value {
    json!({
        "name": view.name,
        "subjects": view.subjects,
        "messages": view.messages,
        "bytes": view.bytes,
        "max_bytes": view.max_bytes,
        "percent": view.max_bytes.map(|max| view.bytes.saturating_mul(100) / max.max(1)),
        "when_full": if view.refuses { "refuses" } else { "drops_oldest" },
        "max_age_hours": view.max_age_hours,
        "consumers": view.consumers,
    })
}

fn consumer(lag: &Lag, streams: &[StreamView]) -> Value {
    let name = lag.consumer.as_str();
    let stream = streams.iter().find(|stream| stream.consumers.iter().any(|consumer| consumer == name));
    json!({
        "name": name,
        "stream": stream.map(|stream| stream.name.as_str()),
        "pending": lag.pending,
        "in_flight": lag.in_flight,
        "oldest_age_s": lag.oldest_age.map(|age| age.as_secs()),
    })
}

fn message(row: &Peeked) -> Value {
    json!({
        "seq": row.seq,
        "subject": row.subject,
        "merchant": ops::bus::merchant(row).map(|merchant| merchant.to_string()),
        "id": row.id.map(|id| id.to_string()),
        "published_at": row.published_at,
        "message": mask::message(&row.payload),
        "message_bytes": row.payload.len(),
    })
}

fn fresh(body: &Value) -> Response {
    axum::Json(body).into_response()
}

//! `GET /v1/ops/notifications` and `…/{id}`: what WeChat, or another sender, posted.

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};

use super::operator;
use super::query::{limit, time};
use crate::clock::Timestamp;
use crate::http::extract::auth::{Authorized, Ops};
use crate::http::extract::client_addr::ClientIp;
use crate::http::extract::path::TextPath;
use crate::http::extract::query::{NoQuery, Params, QueryParams, StrictQuery};
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ops;
use crate::ops::mask;
use crate::ops::notifications::About;
use crate::ops::reason::ReasonClass;
use crate::secret::sha256_hex;
use crate::store::{ArchiveCursor, ArchiveFilter, Archived, ArchivedRow};

const VERDICTS: &[&str] = &["settled", "duplicate", "no_payment", "waiting", "rejected", "parked", "refused"];
const KINDS: &[&str] = &["pay", "refund"];

pub struct NotificationsQuery {
    merchant: Option<String>,
    filter: ArchiveFilter,
    about: About,
    limit: u64,
}

impl QueryParams for NotificationsQuery {
    const NAMES: &'static [&'static str] =
        &["merchant", "verdict", "kind", "reason", "order_no", "id", "from", "to", "after", "limit"];

    fn read(params: &Params) -> Result<NotificationsQuery, Error> {
        let among = |known: &'static [&'static str]| {
            move |text: &str| {
                let found = known.contains(&text).then(|| text.to_owned());
                found.ok_or_else(|| format!("must be one of {}", known.join(", ")))
            }
        };
        Ok(NotificationsQuery {
            merchant: params.owned("merchant"),
            filter: ArchiveFilter {
                merchants: None,
                verdict: params.parsed("verdict", among(VERDICTS))?,
                kind: params.parsed("kind", among(KINDS))?,
                reason: params.owned("reason"),
                from: time(params, "from")?,
                to: time(params, "to")?,
                ids: None,
                before: params.parsed("after", read_cursor)?,
            },
            about: About { order_no: params.owned("order_no"), any: params.owned("id") },
            limit: limit(params)?,
        })
    }
}

fn write_cursor(cursor: &ArchiveCursor) -> String {
    URL_SAFE_NO_PAD.encode(format!("n{}.{}", cursor.received_at.as_ms(), cursor.id))
}

fn read_cursor(text: &str) -> Result<ArchiveCursor, &'static str> {
    let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let parts = decoded.as_deref().and_then(|text| text.strip_prefix('n')?.split_once('.'));
    let cursor = parts.and_then(|(at, id)| {
        Some(ArchiveCursor { received_at: Timestamp::from_ms(at.parse().ok()?), id: id.to_owned() })
    });
    cursor.ok_or("must be a cursor that an earlier page gave as next")
}

#[derive(Serialize)]
struct NotificationJson<'a> {
    id: &'a str,
    merchant: &'a str,
    kind: Option<&'a str>,
    verdict: &'a str,
    reason: Option<&'a str>,
    means: Option<&'static str>,
    mend: Option<&'static str>,
    order_no: Option<&'a str>,
    out_trade_no: Option<&'a str>,
    transaction_id: Option<&'a str>,
    verified_by: Option<&'a str>,
    remote_addr: &'a str,
    received_at: Timestamp,
    processed_at: Option<Timestamp>,
    copies: i64,
    last_received_at: Timestamp,
}

impl<'a> NotificationJson<'a> {
    fn new(row: &'a ArchivedRow) -> NotificationJson<'a> {
        let class = row.reason.as_deref().and_then(ReasonClass::parse);
        NotificationJson {
            id: &row.id,
            merchant: &row.merchant,
            kind: row.kind.as_deref(),
            verdict: &row.verdict,
            reason: row.reason.as_deref(),
            means: class.map(ReasonClass::sentence),
            mend: class.map(ReasonClass::mend),
            order_no: row.order_no.as_deref(),
            out_trade_no: row.out_trade_no.as_deref(),
            transaction_id: row.transaction_id.as_deref(),
            verified_by: row.verified_by.as_deref(),
            remote_addr: &row.remote_addr,
            received_at: row.received_at,
            processed_at: row.processed_at,
            copies: row.copies,
            last_received_at: row.last_received_at,
        }
    }
}

/// `GET /v1/ops/notifications`: newest first.
pub async fn list(
    app: HttpState,
    caller: Authorized<Ops>,
    StrictQuery(NotificationsQuery { merchant, filter, about, limit }): StrictQuery<NotificationsQuery>,
) -> Result<Response, Error> {
    let merchants = caller.among(&app.config, merchant.as_deref())?;
    let filter = ArchiveFilter { merchants, ..filter };
    let page = ops::notifications::list(&app.store, &app.config, filter, &about, limit).await?;
    let rows: Vec<NotificationJson<'_>> = page.rows.iter().map(NotificationJson::new).collect();
    let next = page.next.as_ref().map(write_cursor);
    Ok(axum::Json(json!({"notifications": rows, "next": next})).into_response())
}

/// `GET /v1/ops/notifications/{id}`: with its elements, masked, and what it changed.
pub async fn get(
    app: HttpState,
    caller: Authorized<Ops>,
    ClientIp(client): ClientIp,
    _: StrictQuery<NoQuery>,
    TextPath(id): TextPath,
) -> Result<Response, Error> {
    let by = operator(&caller, client);
    let found = ops::notifications::view(&app.store, &by, &id, app.clock.now()).await?;
    Ok(axum::Json(whole(&found.ok_or(Error::NotFound("notification"))?)).into_response())
}

fn whole(found: &Archived) -> Value {
    let mut value = json!(NotificationJson::new(&found.row));
    let headers: Vec<_> = found.headers.iter().filter(|(name, _)| mask::is_header_shown(name)).collect();
    value["headers"] = json!(headers);
    value["body"] = mask::notification(&found.body).unwrap_or(Value::Null);
    value["body_bytes"] = json!(found.body.len());
    value["body_sha256"] = json!(sha256_hex(&found.body));
    value["is_sample"] = json!(found.is_sample);
    let changes: Vec<Value> = found
        .changes
        .iter()
        .map(|change| {
            let fact = mask::message(change.fact.as_bytes()).unwrap_or(Value::Null);
            json!({"version": change.version, "fact": fact, "recorded_at": change.recorded_at})
        })
        .collect();
    value["changes"] = json!(changes);
    value
}

//! `GET /v1/ops/audit`: who did what, from where, why, and with which result.

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::query::{limit, time};
use crate::clock::Timestamp;
use crate::http::extract::auth::{Authorized, Ops};
use crate::http::extract::cursor;
use crate::http::extract::query::{Params, QueryParams, StrictQuery};
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ops;
use crate::store::{AuditFilter, AuditRow};

pub struct AuditQuery {
    merchant: Option<String>,
    filter: AuditFilter,
    limit: u64,
}

impl QueryParams for AuditQuery {
    const NAMES: &'static [&'static str] =
        &["merchant", "actor", "action", "order_no", "transaction_id", "result", "from", "to", "after", "limit"];

    fn read(params: &Params) -> Result<AuditQuery, Error> {
        Ok(AuditQuery {
            merchant: params.owned("merchant"),
            filter: AuditFilter {
                merchants: None,
                actor: params.owned("actor"),
                action: params.owned("action"),
                order_no: params.owned("order_no"),
                transaction_id: params.owned("transaction_id"),
                result: params.owned("result"),
                from: time(params, "from")?,
                to: time(params, "to")?,
                before_id: params.parsed("after", |text| cursor::read('a', text))?,
            },
            limit: limit(params)?,
        })
    }
}

#[derive(Serialize)]
struct AuditJson<'a> {
    id: i64,
    at: Timestamp,
    actor: &'a str,
    actor_id: Option<&'a str>,
    remote_addr: &'a str,
    action: &'a str,
    merchant: Option<&'a str>,
    order_no: Option<&'a str>,
    transaction_id: Option<&'a str>,
    subject: Option<&'a str>,
    reason: Option<&'a str>,
    result: &'a str,
}

impl<'a> From<&'a AuditRow> for AuditJson<'a> {
    fn from(row: &'a AuditRow) -> AuditJson<'a> {
        AuditJson {
            id: row.id,
            at: row.at,
            actor: &row.actor,
            actor_id: row.actor_id.as_deref(),
            remote_addr: &row.remote_addr,
            action: &row.action,
            merchant: row.merchant.as_deref(),
            order_no: row.order_no.as_deref(),
            transaction_id: row.transaction_id.as_deref(),
            subject: row.subject.as_deref(),
            reason: row.reason.as_deref().filter(|reason| !reason.is_empty()),
            result: &row.result,
        }
    }
}

pub async fn list(
    app: HttpState,
    caller: Authorized<Ops>,
    StrictQuery(AuditQuery { merchant, filter, limit }): StrictQuery<AuditQuery>,
) -> Result<Response, Error> {
    let merchants = caller.among(&app.config, merchant.as_deref())?;
    let page = ops::audit::list(&app.store, &AuditFilter { merchants, ..filter }, limit).await?;
    let rows: Vec<AuditJson<'_>> = page.rows.iter().map(AuditJson::from).collect();
    let next = page.next.map(|id| cursor::write('a', id));
    Ok(axum::Json(json!({"audit": rows, "next": next})).into_response())
}

//! `/v1/ops/approvals`: what waits for a second person, and its decision.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::caller::{operator, tools};
use super::query::{limit, reason_of_body};
use crate::clock::Timestamp;
use crate::config::Scope;
use crate::http::extract::auth::{Authorized, Caller, Ops};
use crate::http::extract::cursor;
use crate::http::extract::path::RowPath;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{NoQuery, Params, QueryParams, StrictQuery};
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::money::Fen;
use crate::ops::money::{self, ApprovalFilter};
use crate::store::{Approval, ApprovalKind};

pub struct ApprovalsQuery {
    merchant: Option<String>,
    waiting: bool,
    before: Option<i64>,
    limit: u64,
}

impl QueryParams for ApprovalsQuery {
    const NAMES: &'static [&'static str] = &["merchant", "state", "after", "limit"];

    fn read(params: &Params) -> Result<ApprovalsQuery, Error> {
        let state = params.parsed("state", |text| match text {
            "waiting" => Ok(()),
            _ => Err("must be waiting, or left out"),
        })?;
        Ok(ApprovalsQuery {
            merchant: params.owned("merchant"),
            waiting: state.is_some(),
            before: params.parsed("after", |text| cursor::read('b', text))?,
            limit: limit(params)?,
        })
    }
}

/// A request for a second person as callers see it.
#[derive(Debug, Serialize)]
pub struct ApprovalJson<'a> {
    id: i64,
    kind: &'static str,
    state: &'static str,
    merchant: &'a str,
    order_no: Option<&'a str>,
    transaction_id: &'a str,
    refund_no: Option<&'a str>,
    amount_fen: Fen,
    order_amount_fen: Option<Fen>,
    class: Option<&'static str>,
    currency: &'a str,
    reason: Option<&'a str>,
    asked_by: &'a str,
    asked_at: Timestamp,
    expires_at: Timestamp,
    decided_by: Option<&'a str>,
    decided_at: Option<Timestamp>,
    decision_reason: Option<&'a str>,
}

impl<'a> ApprovalJson<'a> {
    pub fn new(approval: &'a Approval, now: Timestamp) -> ApprovalJson<'a> {
        ApprovalJson {
            id: approval.id,
            kind: approval.kind.as_str(),
            state: approval.state_at(now).as_str(),
            merchant: approval.merchant.as_str(),
            order_no: approval.order_no.as_ref().map(|order_no| order_no.as_str()),
            transaction_id: approval.transaction_id.as_str(),
            refund_no: approval.refund_no.as_ref().map(|refund_no| refund_no.as_str()),
            amount_fen: approval.amount,
            order_amount_fen: approval.order_amount,
            class: approval.class.map(|class| class.as_str()),
            currency: &approval.currency,
            reason: Some(approval.reason.as_str()).filter(|reason| !reason.is_empty()),
            asked_by: &approval.asked_by,
            asked_at: approval.asked_at,
            expires_at: approval.expires_at,
            decided_by: approval.decided_by.as_deref(),
            decided_at: approval.decided_at,
            decision_reason: approval.decision_reason.as_deref(),
        }
    }
}

/// `GET /v1/ops/approvals`: newest first.
pub async fn list(
    app: HttpState,
    caller: Authorized<Ops>,
    StrictQuery(query): StrictQuery<ApprovalsQuery>,
) -> Result<Response, Error> {
    let now = app.clock.now();
    let filter = ApprovalFilter {
        merchants: caller.among(&app.config, query.merchant.as_deref())?,
        waiting_at: query.waiting.then_some(now),
        before: query.before,
    };
    let page = money::approvals(&app.store, &filter, query.limit).await?;
    let rows: Vec<ApprovalJson<'_>> = page.rows.iter().map(|row| ApprovalJson::new(row, now)).collect();
    let next = page.next.map(|id| cursor::write('b', id));
    Ok(axum::Json(json!({"approvals": rows, "next": next})).into_response())
}

/// `GET /v1/ops/approvals/{id}`
pub async fn get(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    RowPath(id): RowPath,
) -> Result<Response, Error> {
    let found = app.store.approval(id).await?.filter(|approval| caller.sees(&approval.merchant));
    answer(&app, &found.ok_or(Error::NotFound("approval"))?)
}

/// `POST /v1/ops/approvals/{id}/approve`: `{"reason": "…"}`.
pub async fn approve(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    RowPath(id): RowPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let reason = reason_of_body(&body)?;
    may_decide(&app, &caller, id).await?;
    answer(&app, &money::approve(tools(&app), &operator(&caller, client), id, &reason).await?)
}

/// `POST /v1/ops/approvals/{id}/refuse`: `{"reason": "…"}`.
pub async fn refuse(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    RowPath(id): RowPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let reason = reason_of_body(&body)?;
    may_decide(&app, &caller, id).await?;
    answer(&app, &money::refuse(tools(&app), &operator(&caller, client), id, &reason).await?)
}

/// About a refund decides only who might ask for one.
async fn may_decide(app: &HttpState, caller: &Caller, id: i64) -> Result<(), Error> {
    match app.store.approval(id).await? {
        Some(approval) if approval.kind == ApprovalKind::Refund && !caller.may(Scope::Refunds) => {
            Err(if caller.sees(&approval.merchant) {
                Error::Forbidden(Scope::Refunds)
            } else {
                Error::NotFound("approval")
            })
        }
        _ => Ok(()),
    }
}

fn answer(app: &HttpState, approval: &Approval) -> Result<Response, Error> {
    Ok(axum::Json(ApprovalJson::new(approval, app.clock.now())).into_response())
}

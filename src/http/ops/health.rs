//! `GET /v1/ops/health`: what of the merchants does not work, since when, and what to check.

use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::operator;
use crate::http::extract::auth::{Authorized, Ops};
use crate::http::extract::client_addr::ClientIp;
use crate::http::extract::query::{NoQuery, StrictQuery};
use crate::http::problem::Error;
use crate::http::problem_answer::wechat_json;
use crate::http::state::HttpState;
use crate::ops;
use crate::store::{Degradation, Part};

pub async fn list(
    app: HttpState,
    caller: Authorized<Ops>,
    ClientIp(client): ClientIp,
    _: StrictQuery<NoQuery>,
) -> Result<Response, Error> {
    let found = ops::health::list(&app.store, &operator(&caller, client)).await?;
    let rows: Vec<Value> = found.iter().map(row_json).collect();
    Ok(axum::Json(json!({"degraded": rows})).into_response())
}

fn row_json(of: &Degradation) -> Value {
    json!({
        "merchant": of.merchant,
        "what": of.part.to_text(),
        "reason": of.reason,
        "check": of.check,
        "is_hint": of.part.is_hint(),
        "wechat": of.said.as_ref().map(wechat_json),
        "since": of.since,
        "last_refused_at": of.seen_at,
        "next_probe_at": match of.part {
            Part::TradeType(..) | Part::Notifications => None,
            Part::Merchant | Part::Refunds | Part::App(_) => Some(of.next_probe_at),
        },
    })
}

//! `POST /v1/ops/sessions/end`: ends the sessions of one payer.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::request::parse;
use crate::http::extract::auth::{Authorized, Ops};
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{NoQuery, StrictQuery};
use crate::http::ops::operator;
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ops;

/// `{"app": "shop", "openid": "o…", "reason": "…"}`. Whether there was a session is not known: they are the browsers'.
pub async fn end(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let operator = operator(&caller, client);
    let request = parse(&body, &ops::sessions::apps(&app.config, &operator))?;
    let now = app.clock.now();
    let of = request.app.clone();
    ops::sessions::end(&app.store, &operator, request, now).await?;
    Ok(axum::Json(json!({"app": of, "ended_at": now})).into_response())
}

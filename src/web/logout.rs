//! `POST /api/wechat/logout`: ends a payer's sessions, on this device and all others.
//!
//! A session is a sealed text that opens until its key changes; what must stay true: one that was copied before the
//! logout counts no more in any process.

use axum::extract::Request;
use axum::http::header;
use axum::response::Response;
use serde_json::json;

use super::envelope::{Failure, success};
use crate::web::state::WebState;

/// Also where there is no session any more: a page that asks wants none.
pub async fn logout(app: WebState, request: Request) -> Result<Response, Failure> {
    let headers = request.headers();
    if let Some(session) = app.session(headers).await? {
        app.store.end_sessions(&session.app, &session.openid, app.clock.now()).await?;
    }
    let mut response = success(json!({"logged_in": false}));
    for cookie in app.browser()?.sessions.ended(headers)? {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

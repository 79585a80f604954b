//! `GET /api/wechat/getUserInfo`: what is known of the session's user. Not their openid: no page needs it.

use axum::extract::Request;
use axum::response::Response;
use serde_json::json;

use super::envelope::{Failure, Reason, success};
use crate::web::state::WebState;

pub async fn get_user_info(app: WebState, request: Request) -> Result<Response, Failure> {
    let session = app.required_session(request.headers()).await?;
    // A session whose user is not there any more must begin anew.
    let user = app.store.user(&session.app, &session.openid).await?.ok_or(Reason::NotLoggedIn)?;
    Ok(success(json!({
        "nickname": user.nickname,
        "avatar": user.avatar_url,
        // The same under WeChat's own name, which front ends read.
        "headimgurl": user.avatar_url,
        "has_profile": user.nickname.is_some(),
        "is_snapshot": session.snapshot,
    })))
}

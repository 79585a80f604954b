//! The table of the browser side's routes. Paths and parameters are those of the well-known tutorial whose front ends
//! exist.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, any, get, post};

use super::cors::cors;
use super::envelope::{Failure, Reason};
use super::mini::{login, phone};
use super::oauth::{callback, redirect};
use super::page::jssdk;
use super::wallet::pay;
use super::{logout, status, user_info};
use crate::http::{HttpShared, notifications};
use crate::web::state::WebShared;
use crate::wechat::platform::PlatformClient;

/// The routes below `/api/wechat`.
pub fn routes(shared: Arc<HttpShared>, platform: PlatformClient) -> Router {
    let state = Arc::new(WebShared::new(Arc::clone(&shared), platform));
    let pages = Router::new()
        .route("/api/wechat/redirect", only(get(redirect::redirect)))
        .route("/api/wechat/getOpenId", only(get(callback::get_open_id)))
        .route("/api/wechat/jssdk", only(get(jssdk::jssdk)))
        .route("/api/wechat/getUserInfo", only(get(user_info::get_user_info)))
        .route("/api/wechat/logout", only(post(logout::logout)))
        .route("/api/wechat/pay/payWallet", only(get(pay::pay_wallet)))
        .route("/api/wechat/pay/status", only(get(status::status)))
        .route("/api/wechat/mini/login", only(post(login::login)))
        .route("/api/wechat/mini/phone", only(post(phone::phone)))
        .route("/api/wechat/{*rest}", any(|| async { Failure::from(Reason::NoRoute) }))
        .layer(from_fn_with_state(Arc::clone(&state), cors));
    // WeChat's own post: it has no origin, no cookie, and an answer in its own format.
    let callback = Router::new().route("/api/wechat/pay/callback", post(notifications::pay_first));
    pages.with_state(state).merge(callback.with_state(shared))
}

fn only(route: MethodRouter<Arc<WebShared>>) -> MethodRouter<Arc<WebShared>> {
    route.fallback(|| async { Failure::from(Reason::MethodNotAllowed) })
}

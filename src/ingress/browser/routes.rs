//! The table of the browser side's routes. Paths and parameters are those of the well-known tutorial whose front ends exist.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, any, get, post};

use super::super::notify;
use super::super::routes::App;
use super::doors::doors;
use super::failure::{Failure, Reason};
use super::{arrival, jssdk, login, mini, phone, status, user_info, wallet};

/// The routes below `/api/wechat`.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let pages = Router::new()
        .route("/api/wechat/redirect", only(get(login::redirect)))
        .route("/api/wechat/getOpenId", only(get(arrival::get_open_id)))
        .route("/api/wechat/jssdk", only(get(jssdk::jssdk)))
        .route("/api/wechat/getUserInfo", only(get(user_info::get_user_info)))
        .route("/api/wechat/pay/payWallet", only(get(wallet::pay_wallet)))
        .route("/api/wechat/pay/status", only(get(status::status)))
        .route("/api/wechat/mini/login", only(post(mini::login)))
        .route("/api/wechat/mini/phone", only(post(phone::phone)))
        .route("/api/wechat/{*rest}", any(|| async { Failure::from(Reason::NoRoute) }))
        .layer(from_fn_with_state(Arc::clone(app), doors));
    // WeChat's own post: it has no origin, no cookie, and an answer in its own format.
    pages.merge(Router::new().route("/api/wechat/pay/callback", post(notify::pay_first)))
}

fn only(route: MethodRouter<Arc<App>>) -> MethodRouter<Arc<App>> {
    route.fallback(|| async { Failure::from(Reason::MethodNotAllowed) })
}

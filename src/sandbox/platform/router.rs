//! The platform's addresses.

use std::sync::Arc;

use axum::Router;

use super::api::Api;
use super::bridge::page;
use super::call;
use super::oauth::authorize;
use crate::sandbox::control::{people, platform};
use crate::sandbox::state::SandboxState;

/// `api.weixin.qq.com`, `open.weixin.qq.com`, WeChat's browser, and the control of them.
pub(in crate::sandbox) fn router() -> Router<Arc<SandboxState>> {
    let mut router = Router::new()
        .merge(authorize::router())
        .merge(page::router())
        .merge(platform::router())
        .merge(people::router());
    for api in Api::ALL {
        router = router.route(api.path(), call::on(api));
    }
    router
}

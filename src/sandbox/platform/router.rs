//! The platform's addresses.

use std::sync::Arc;

use axum::Router;

use super::api::Api;
use super::{authorize, bridge, call, control, control_people};
use crate::sandbox::world::World;

/// `api.weixin.qq.com`, `open.weixin.qq.com`, WeChat's browser, and the control of them.
pub(in crate::sandbox) fn router() -> Router<Arc<World>> {
    let mut router = Router::new()
        .merge(authorize::router())
        .merge(bridge::router())
        .merge(control::router())
        .merge(control_people::router());
    for api in Api::ALL {
        router = router.route(api.path(), call::on(api));
    }
    router
}

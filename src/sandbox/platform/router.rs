//! The platform's addresses.

use std::sync::Arc;

use axum::Router;

use super::api::Api;
use super::{authorize, call, control, control_people};
use crate::sandbox::world::World;

/// `api.weixin.qq.com` and the control of it.
pub(in crate::sandbox) fn router() -> Router<Arc<World>> {
    let mut router = Router::new().merge(authorize::router()).merge(control::router()).merge(control_people::router());
    for api in Api::ALL {
        router = router.route(api.path(), call::on(api));
    }
    router
}

//! The caller of a request as the operator that it is, and what operations work with.

use std::net::IpAddr;

use crate::http::extract::auth::Caller;
use crate::http::state::HttpState;
use crate::ops::Operator;
use crate::ops::replay::Tools;

/// With the address that the request came from.
pub(crate) fn operator(caller: &Caller, client: IpAddr) -> Operator {
    Operator {
        name: caller.name().to_owned(),
        id: caller.id().to_owned(),
        key: caller.key_id().to_owned(),
        remote_addr: client.to_string(),
        merchants: caller.merchants().map(<[_]>::to_vec),
    }
}

/// What operations work with.
pub(crate) fn tools(app: &HttpState) -> Tools<'_> {
    Tools { store: &app.store, bus: &app.bus, config: &app.config, clock: &app.clock, wechat: &app.wechat }
}

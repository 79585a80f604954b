//! What operators see and do over HTTP. Everything here calls `crate::ops`, and needs the scope `ops`.

pub(crate) mod audit;
pub(crate) mod dead_letters;
pub(crate) mod jobs;
pub(crate) mod notifications;
pub(crate) mod query;
mod replay_request;
pub(crate) mod replays;

use std::net::IpAddr;

use crate::http::extract::auth::Caller;
use crate::ops::Operator;

/// The caller of a request as the operator that it is.
pub(crate) fn operator(caller: &Caller, client: IpAddr) -> Operator {
    Operator {
        name: caller.name().to_owned(),
        id: caller.id().to_owned(),
        remote_addr: client.to_string(),
        merchants: caller.merchants().map(<[_]>::to_vec),
    }
}

//! The caller of a request as the operator that it is.

use std::net::IpAddr;

use crate::http::extract::auth::Caller;
use crate::ops::Operator;

/// With the address that the request came from.
pub(crate) fn operator(caller: &Caller, client: IpAddr) -> Operator {
    Operator {
        name: caller.name().to_owned(),
        id: caller.id().to_owned(),
        remote_addr: client.to_string(),
        merchants: caller.merchants().map(<[_]>::to_vec),
    }
}

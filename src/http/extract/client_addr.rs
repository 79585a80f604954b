//! Who really called, behind proxies.
//!
//! `X-Forwarded-For` is believed only as far as trusted proxies wrote it: each appends the address it saw, so from the
//! right, the first address that is not a trusted proxy is the caller. Everything left of it is the caller's own
//! invention.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use ipnet::IpNet;

use crate::http::middleware::remote_ip;
use crate::http::state::{HttpShared, HttpState};

/// Extractor: the caller's address.
pub struct ClientIp(pub IpAddr);

impl FromRequestParts<Arc<HttpShared>> for ClientIp {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<HttpShared>) -> Result<ClientIp, Infallible> {
        let app = HttpState::of_request(&mut parts.extensions, shared);
        let remote = remote_ip(&parts.extensions);
        Ok(ClientIp(client_ip(remote, &parts.headers, &app.config.server.trusted_proxies)))
    }
}

/// The caller's address, given the address at the other end of the connection.
pub fn client_ip(remote: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    let mut caller = remote.to_canonical();
    let values: Vec<&str> = headers.get_all("x-forwarded-for").iter().map(|v| v.to_str().unwrap_or("?")).collect();
    for hop in values.iter().flat_map(|value| value.split(',')).rev() {
        if !is_trusted(&caller) {
            break;
        }
        let Some(ip) = parse(hop.trim()) else { break };
        caller = ip;
    }
    caller
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]` or `[::1]:5`.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let ip = bare.parse::<IpAddr>().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()));
    ip.map(|ip| ip.to_canonical())
}

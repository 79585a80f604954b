//! Whether a password that is sent with this request travels unreadable.

use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;

/// Whether the browser runs on this host: no proxy has passed the request on.
pub fn is_local(client: IpAddr, headers: &HeaderMap) -> bool {
    let forwarded = ["x-forwarded-for", "x-real-ip", "forwarded"];
    client.is_loopback() && !forwarded.iter().any(|name| headers.contains_key(*name))
}

/// Whether the request comes from this host or from a trusted proxy, and no proxy says that it took it over plain
/// http. The listener itself speaks plain http: what comes to it from elsewhere could be read on the way.
pub fn is_https(remote: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
    let is_near = remote.is_loopback() || trusted.iter().any(|net| net.contains(&remote));
    is_near && !is_plain(headers)
}

/// Whether one of the proxies took the request over plain http, as `X-Forwarded-Proto` or `Forwarded` says.
fn is_plain(headers: &HeaderMap) -> bool {
    let mut proto =
        headers.get_all("x-forwarded-proto").iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let mut forwarded = headers.get_all("forwarded").iter().flat_map(|value| {
        value.as_bytes().split(|b| matches!(b, b',' | b';')).filter_map(|pair| {
            let pair = pair.trim_ascii();
            let (name, value) = pair.split_at_checked(6)?;
            name.eq_ignore_ascii_case(b"proto=").then(|| value.strip_prefix(b"\"").unwrap_or(value))
        })
    });
    let is_http = |value: &[u8]| {
        value.trim_ascii().strip_suffix(b"\"").unwrap_or(value.trim_ascii()).eq_ignore_ascii_case(b"http")
    };
    proto.any(is_http) || forwarded.any(is_http)
}

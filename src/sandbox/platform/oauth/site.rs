//! Which pages an app may name: the host rules of `redirect_uri` and of the JS-SDK.

use std::net::IpAddr;

/// Scheme and `host[:port]` of an absolute http(s) address, in lower case, without a default port.
///
/// None for everything that a browser might read in another way than we do: user information, backslashes, blanks,
/// control characters.
pub(in crate::sandbox) fn site(url: &str) -> Option<(&'static str, String)> {
    if url.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return None;
    }
    let (scheme, rest, port) = match url.split_once("://")? {
        ("http", rest) => ("http", rest, ":80"),
        ("https", rest) => ("https", rest, ":443"),
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?.to_ascii_lowercase();
    if authority.is_empty() || authority.contains('@') || authority.contains('%') {
        return None;
    }
    Some((scheme, authority.strip_suffix(port).map_or(authority.clone(), str::to_owned)))
}

/// Whether `host[:port]` is this machine.
pub(in crate::sandbox) fn is_loopback(authority: &str) -> bool {
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let host = match bracketed {
        Some((host, _)) => host,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a page's address is on one of these hosts; without any, on loopback.
pub(in crate::sandbox) fn admitted<'a>(url: &str, domains: impl IntoIterator<Item = &'a String>) -> bool {
    let Some((_, authority)) = site(url) else { return false };
    let mut domains = domains.into_iter().peekable();
    if domains.peek().is_none() {
        return is_loopback(&authority);
    }
    domains.any(|domain| domain.eq_ignore_ascii_case(&authority))
}

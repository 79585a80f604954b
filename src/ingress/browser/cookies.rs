//! Reading and writing cookies.
//!
//! A name that comes twice is not read at all: a neighbouring sub-domain can add a cookie of ours beside the real one, and a
//! payer must not end up in somebody else's session.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

/// The value of the one cookie of this name.
pub fn get<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (n, value) = pair.trim().split_once('=')?;
        (n == name).then_some(value)
    });
    match (found.next(), found.next()) {
        (Some(value), None) => Some(value),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

/// A cookie to be set. `SameSite=Lax`: it comes along when WeChat sends the browser back, and with no foreign page's requests
/// but its navigations.
#[derive(Debug, Clone, Copy)]
pub struct Cookie<'a> {
    /// Its name.
    pub name: &'a str,
    /// Below which path it is sent.
    pub path: &'a str,
    /// How long it lives.
    pub max_age: Duration,
    /// Whether scripts of our pages can read it.
    pub readable: bool,
    /// Whether it is sent over https alone.
    pub secure: bool,
}

impl Cookie<'_> {
    /// The `Set-Cookie` line. `value` is URL-safe text: letters, digits, `-`, `_`.
    pub fn set(&self, value: &str) -> Option<HeaderValue> {
        let Cookie { name, path, max_age, readable, secure } = self;
        let http_only = if *readable { "" } else { "; HttpOnly" };
        let secure = if *secure { "; Secure" } else { "" };
        let line =
            format!("{name}={value}; Path={path}; Max-Age={}; SameSite=Lax{http_only}{secure}", max_age.as_secs());
        HeaderValue::from_str(&line).ok()
    }
}

//! Reading and writing cookies.
//!
//! A neighbouring sub-domain can put a cookie of ours in a browser, and a payer must not end up in another person's
//! session. Over https the names therefore begin with `__Host-`, which browsers let only this very host set; and
//! a name that comes twice is not read at all.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use url::Url;

use super::envelope::{Failure, Reason};
pub use crate::http::extract::cookie::get;

/// The cookies of these names, with their values.
pub fn beginning<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = (&'h str, &'h str)> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(n, _)| n.starts_with(name))
}

/// The path of the address under which this service is seen, without its trailing slash: empty, or like `/pay`.
pub fn prefix(public_url: &str) -> String {
    Url::parse(public_url).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default()
}

/// How this installation names its own cookies and where they are sent.
#[derive(Debug, Clone)]
pub struct Jar {
    secure: bool,
    routes: String,
}

impl Jar {
    /// For a service that browsers see at `public_url`.
    pub fn new(public_url: &str) -> Jar {
        let secure = public_url.starts_with("https://");
        // `__Host-` wants the whole host.
        let routes = if secure { "/".to_owned() } else { format!("{}/api/wechat", prefix(public_url)) };
        Jar { secure, routes }
    }

    /// A name as browsers know it.
    pub fn name(&self, name: &str) -> String {
        if self.secure { format!("__Host-{name}") } else { name.to_owned() }
    }

    /// A cookie that goes with every request to the host.
    pub fn for_host<'a>(&self, name: &'a str, max_age: Duration) -> Cookie<'a> {
        Cookie { name, path: "/".to_owned(), max_age, readable: false, secure: self.secure }
    }

    /// A cookie for this service's own routes, as far as its name lets it.
    pub fn for_routes<'a>(&self, name: &'a str, max_age: Duration) -> Cookie<'a> {
        Cookie { path: self.routes.clone(), ..self.for_host(name, max_age) }
    }
}

/// A cookie to be set. `SameSite=Lax`: it comes along when WeChat sends the browser back, and with no foreign page's
/// requests but its navigations.
#[derive(Debug, Clone)]
pub struct Cookie<'a> {
    pub name: &'a str,
    /// Below which path it is sent.
    pub path: String,
    /// Its lifetime.
    pub max_age: Duration,
    /// Whether scripts of our pages can read it.
    pub readable: bool,
    /// Whether it is sent over https alone.
    pub secure: bool,
}

impl Cookie<'_> {
    /// The `Set-Cookie` line. `value` is URL-safe text: letters, digits, `-`, `_`.
    pub fn set(&self, value: &str) -> Result<HeaderValue, Failure> {
        let Cookie { name, path, max_age, readable, secure } = self;
        let http_only = if *readable { "" } else { "; HttpOnly" };
        let secure = if *secure { "; Secure" } else { "" };
        let line =
            format!("{name}={value}; Path={path}; Max-Age={}; SameSite=Lax{http_only}{secure}", max_age.as_secs());
        HeaderValue::from_str(&line).map_err(|e| Failure::because(Reason::Internal, e.to_string()))
    }

    /// The `Set-Cookie` line that ends it.
    pub fn end(&self) -> Result<HeaderValue, Failure> {
        Cookie { max_age: Duration::ZERO, ..self.clone() }.set("")
    }
}

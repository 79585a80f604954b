//! Who may call the simulator: programs, and its own pages. A page of another origin may not, in whatever browser of
//! this host: the control API pays orders and gives out merchants' keys.
//!
//! A name that leads here by a DNS answer of the attacker's (rebinding) is refused by `Host`; a page that posts from
//! elsewhere, by `Origin`. The script of WeChat's browser runs in the shop's pages, and checks them itself.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::sandbox::control::wire::Problem;

/// Ends of names that no one on the internet owns.
const INSIDE: [&str; 7] = [".localhost", ".local", ".internal", ".test", ".lan", ".home.arpa", ".docker"];

/// Middleware over every route. `names` are this host's own beside addresses and names of the inside.
pub(super) async fn check(State(names): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    match refusal(&names, request.uri().path(), request.headers()) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

fn refusal(names: &[String], path: &str, headers: &HeaderMap) -> Option<Problem> {
    let refused =
        |error, message: &str| Some(Problem { status: StatusCode::FORBIDDEN, error, message: message.to_owned() });
    // Only programs of before HTTP/1.1 send none.
    let host = headers.get(header::HOST)?;
    let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    if !authority.as_ref().is_some_and(|host| is_own(names, host.host())) {
        return refused("bad_host", "this name is not of this host: call its address, or start with --tls-name NAME");
    }
    let is_control = path.starts_with("/_sandbox/") && !path.starts_with("/_sandbox/bridge/");
    if let Some(origin) = headers.get(header::ORIGIN).filter(|_| is_control) {
        let from = origin.to_str().unwrap_or_default();
        let from = from.strip_prefix("http://").or_else(|| from.strip_prefix("https://"));
        if from != host.to_str().ok() {
            return refused("bad_origin", "a page of another origin may not use the control API");
        }
    }
    None
}

/// An address, a name without a dot, a name of the inside, or one that the simulator was started with.
fn is_own(names: &[String], host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    bare.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || INSIDE.iter().any(|end| name.ends_with(end))
        || names.iter().any(|own| own.eq_ignore_ascii_case(&name))
}

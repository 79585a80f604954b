//! Around every request: its id, the checks that concern all of them, one log line.
//!
//! The line names the route's pattern and never the path, the query or a header: those may hold tokens.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::{MatchedPath, Request};
use axum::http::{Extensions, HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::extract::request_id;
use super::problem::Error;
use super::server::connection::{Ambiguous, Overloaded, Remote};
use crate::secret::random_text;

const MAX_URI_BYTES: usize = 4 * 1024;

/// The address at the other end of the connection.
pub fn remote_ip(extensions: &Extensions) -> IpAddr {
    let remote = extensions.get::<Remote>();
    remote.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Remote(address)| address.ip().to_canonical())
}

/// Middleware: the outermost layer of every router.
pub async fn guard(request: Request, next: Next) -> Response {
    let id = random_text(20);
    request_id::under(id.clone(), answer(id, request, next)).await
}

async fn answer(id: String, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    // What comes after a body without a stated length is where a smuggled request would begin.
    let close = request.headers().contains_key(header::TRANSFER_ENCODING);
    let (mut response, close) = match refusal(&request) {
        Some(error) => (error.into_response(), true),
        None => (next.run(request).await, close),
    };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", value);
    }
    // What an answer says is about one moment and for one caller, unless its route says otherwise.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // An order's token may stand in an address.
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let status = response.status().as_u16();
    let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let route = route.as_deref().unwrap_or("-");
    tracing::debug!(request_id = id, %method, route, status, duration_ms, "Answered a request");
    response
}

fn refusal(request: &Request) -> Option<Error> {
    if request.extensions().get::<Overloaded>().is_some() {
        return Some(Error::Overloaded);
    }
    if request.extensions().get::<Ambiguous>().is_some() {
        return Some(Error::Malformed { detail: "a request states its length in one way only" });
    }
    if request.uri().path_and_query().map_or(0, |target| target.as_str().len()) > MAX_URI_BYTES {
        return Some(Error::UriTooLong);
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Some(Error::Malformed { detail: "a request names exactly one host" });
    }
    None
}

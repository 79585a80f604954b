//! Around every route of the browser side: which origins may read the answers, and that none is cached.
//!
//! Pages of the allow-list may call with cookies from their own origin; no other origin's script can read an answer.
//! Nothing here may be kept by a cache: every answer belongs to one browser, or to one address of one page at one
//! moment.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::envelope::{Failure, Reason};
use crate::web::state::WebState;

/// How long a browser may remember that it may call, in seconds.
const PREFLIGHT_MAX_AGE: &str = "600";

/// Middleware of the browser routes.
pub async fn cors(app: WebState, request: Request, next: Next) -> Response {
    let sent = request.headers().clone();
    let origin = sent.get(header::ORIGIN).cloned();
    let listed = origin
        .as_ref()
        .and_then(|value| value.to_str().ok())
        .is_some_and(|origin| app.browser().is_ok_and(|browser| browser.origins.lists(origin)));
    let mut response =
        if is_preflight(request.method(), request.headers()) { preflight(listed) } else { next.run(request).await };
    if response.extensions().get() == Some(&Reason::NotLoggedIn)
        && let Ok(browser) = app.browser()
    {
        // A page that checks the marker sends its payer to the login only when it is gone.
        for cookie in browser.sessions.ended(&sent).unwrap_or_default() {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    if app.config.web.status_always_200 && response.extensions().get::<Reason>().is_some() {
        *response.status_mut() = StatusCode::OK;
    }
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The address of the return holds the code and the state.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let (true, Some(origin)) = (listed, origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("X-Request-Id, Retry-After"));
    }
    response
}

fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(listed: bool) -> Response {
    if !listed {
        return Failure::from(Reason::BadOrigin).into_response();
    }
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Authorization"),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

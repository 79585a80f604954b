//! `/demo`: the page on which a payer logs in and pays.
//!
//! It stands for a shop's page, not for a part of the service: it uses only the browser routes under `/api/wechat`.
//! What must stay true: no inline script, nothing from any other host but WeChat's script (here: the simulator's).

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::sandbox::palette;

const PAGE: &str = include_str!("checkout/page.html");
const STYLE: &str = include_str!("checkout/page.css");

const SCRIPTS: [(&str, &str); 5] = [
    ("/demo/page.js", include_str!("checkout/page.js")),
    ("/demo/memory.js", include_str!("checkout/memory.js")),
    ("/demo/screens.js", include_str!("checkout/screens.js")),
    ("/demo/service.js", include_str!("checkout/service.js")),
    ("/demo/wechat.js", include_str!("checkout/wechat.js")),
];

/// The page of this shop, and its files. `wechat` is the origin whose `/_sandbox/jweixin.js` replaces WeChat's own
/// script.
///
/// # Errors
///
/// If `wechat` is not valid in a header.
pub fn routes(wechat: &str, merchant: &str) -> Result<Router, header::InvalidHeaderValue> {
    let html = PAGE.replace("{{jweixin}}", &format!("{wechat}/_sandbox/jweixin.js")).replace("{{merchant}}", merchant);
    let style = STYLE.replace("{{palette}}", &palette(":root"));
    let policy = HeaderValue::from_str(&format!(
        "default-src 'none'; script-src 'self' {wechat}; connect-src 'self' {wechat}; style-src 'self'; \
         img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ))?;
    let page = move || async move { file("text/html; charset=utf-8", html, Some(policy)) };
    let mut routes = Router::new()
        .route("/demo", get(page))
        .route("/demo/page.css", get(move || async move { file("text/css; charset=utf-8", style, None) }));
    for (path, text) in SCRIPTS {
        routes = routes.route(path, get(move || async move { file("text/javascript; charset=utf-8", text, None) }));
    }
    Ok(routes)
}

fn file(kind: &'static str, text: impl IntoResponse, policy: Option<HeaderValue>) -> Response {
    let fixed: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    let mut response = text.into_response();
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if let Some(policy) = policy {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

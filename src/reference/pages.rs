//! The OpenAPI document, and Swagger UI to browse it.
//!
//! Swagger UI is what integrators know; it is kept compressed (485 KB) and served as it is.

use std::io::Read;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

use super::openapi::openapi_document;
use crate::http::Error;

/// Scripts and styles are files of this server. Swagger UI sets styles of elements, and has pictures in its style.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                   connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// A new version of the program may have others.
const CACHE: &str = "public, max-age=3600";

const PAGE: &str = include_str!("assets/docs.html");
const START: &str = include_str!("assets/docs.js");
const STYLE: &str = include_str!("assets/pages.css");
/// Goes with every copy of Swagger UI.
const LICENCES: &str = include_str!("assets/SWAGGER-UI-LICENSES.txt");
const BUNDLE: &[u8] = include_bytes!("assets/swagger-ui-bundle.js.gz");
const BUNDLE_STYLE: &[u8] = include_bytes!("assets/swagger-ui.css.gz");
/// For clients that take nothing compressed: once for all of them, so that unread answers take no memory each.
static PLAIN_BUNDLE: LazyLock<Bytes> = LazyLock::new(|| inflated(BUNDLE));
static PLAIN_STYLE: LazyLock<Bytes> = LazyLock::new(|| inflated(BUNDLE_STYLE));

const CSS_TYPE: &str = "text/css; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";
const JS_TYPE: &str = "text/javascript; charset=utf-8";

static DOCUMENT: LazyLock<String> = LazyLock::new(openapi_text);

/// The document as a file.
pub fn openapi_text() -> String {
    format!("{:#}\n", openapi_document())
}

/// `GET /openapi.json`
pub async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, CACHE)], DOCUMENT.as_str()).into_response()
}

/// `GET /docs`
pub async fn docs() -> Response {
    html(PAGE.to_owned())
}

/// A page of the reference.
pub fn html(page: String) -> Response {
    let mut response = axum::response::Html(page).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE));
    response
}

/// `GET /docs/{name}`: script and style of the pages.
pub async fn file(name: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Result<Response, Error> {
    let Ok(Path(name)) = name else { return Err(Error::NotFound("file")) };
    match name.as_str() {
        "docs.js" => Ok(plain(JS_TYPE, START)),
        "pages.css" => Ok(plain(CSS_TYPE, STYLE)),
        "licences.txt" => Ok(plain(TEXT_TYPE, LICENCES)),
        "swagger-ui-bundle.js" => Ok(compressed(&headers, JS_TYPE, (BUNDLE, &PLAIN_BUNDLE))),
        "swagger-ui.css" => Ok(compressed(&headers, CSS_TYPE, (BUNDLE_STYLE, &PLAIN_STYLE))),
        _ => Err(Error::NotFound("file")),
    }
}

fn plain(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, CACHE)], text).into_response()
}

/// Empty where the file in the program is broken, which a test would show.
fn inflated(compressed: &[u8]) -> Bytes {
    let mut whole = Vec::new();
    match GzDecoder::new(compressed).read_to_end(&mut whole) {
        Ok(_) => whole.into(),
        Err(_) => Bytes::new(),
    }
}

fn compressed(headers: &HeaderMap, kind: &'static str, (bytes, plain): (&'static [u8], &LazyLock<Bytes>)) -> Response {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let takes_gzip = accepted.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip")) && parts.next() != Some("q=0")
    });
    let fixed = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, CACHE), (header::VARY, "Accept-Encoding")];
    if takes_gzip {
        return (fixed, [(header::CONTENT_ENCODING, "gzip")], bytes).into_response();
    }
    (fixed, (**plain).clone()).into_response()
}

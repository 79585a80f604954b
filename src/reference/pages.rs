//! The OpenAPI document, and Swagger UI to browse it.
//!
//! Swagger UI is what integrators know; it is kept compressed (485 KB) and served as it is.

use std::io::Read;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

use super::openapi::openapi_document;
use crate::http::Error;
use crate::secret::sha256_hex;

/// Scripts and styles are files of this server. Swagger UI sets styles of elements, and has pictures in its style.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                   connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Kept, and asked about each time: a new version of the program has others under the same names.
const CACHE: HeaderValue = HeaderValue::from_static("no-cache");

const PAGE: &str = include_str!("assets/docs.html");
const START: &str = include_str!("assets/docs.js");
const STYLE: &str = include_str!("assets/pages.css");
/// Goes with every copy of Swagger UI.
const LICENCES: &str = include_str!("assets/SWAGGER-UI-LICENSES.txt");
const BUNDLE: &[u8] = include_bytes!("assets/swagger-ui-bundle.js.gz");
const BUNDLE_STYLE: &[u8] = include_bytes!("assets/swagger-ui.css.gz");

const CSS_TYPE: &str = "text/css; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";
const JS_TYPE: &str = "text/javascript; charset=utf-8";

static DOCUMENT: LazyLock<Kept> = LazyLock::new(|| Kept::new(openapi_text().into()));
static START_FILE: LazyLock<Kept> = LazyLock::new(|| Kept::new(START.into()));
static STYLE_FILE: LazyLock<Kept> = LazyLock::new(|| Kept::new(STYLE.into()));
static LICENCES_FILE: LazyLock<Kept> = LazyLock::new(|| Kept::new(LICENCES.into()));
static BUNDLE_FILE: LazyLock<Compressed> = LazyLock::new(|| Compressed::new(BUNDLE));
static BUNDLE_STYLE_FILE: LazyLock<Compressed> = LazyLock::new(|| Compressed::new(BUNDLE_STYLE));

/// Bytes that clients keep, and the tag by which they ask whether these are still the same.
struct Kept {
    bytes: Bytes,
    tag: String,
}

impl Kept {
    fn new(bytes: Bytes) -> Kept {
        Kept { tag: tag(&bytes), bytes }
    }

    fn answer(&self, asked: &HeaderMap, kind: &'static str) -> Response {
        let response = ([(header::CONTENT_TYPE, kind)], self.bytes.clone()).into_response();
        revalidated(asked, &self.tag, response)
    }
}

/// A file in both forms: compressed, and for clients that take nothing compressed, once for all of them, so that unread
/// answers take no memory each.
struct Compressed {
    packed: Kept,
    plain: Kept,
}

impl Compressed {
    fn new(packed: &'static [u8]) -> Compressed {
        Compressed { packed: Kept::new(Bytes::from_static(packed)), plain: Kept::new(inflated(packed)) }
    }

    fn answer(&self, asked: &HeaderMap, kind: &'static str) -> Response {
        let takes_gzip = takes_gzip(asked);
        let form = if takes_gzip { &self.packed } else { &self.plain };
        let mut response = form.answer(asked, kind);
        let is_known = response.status() == StatusCode::NOT_MODIFIED;
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if takes_gzip && !is_known {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// Of exactly these bytes.
fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", &sha256_hex(bytes)[..20])
}

/// The answer, or 304 where the client has it already.
fn revalidated(asked: &HeaderMap, tag: &str, mut response: Response) -> Response {
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(|known| known.trim().trim_start_matches("W/"));
    if known.any(|known| known == tag || known == "*") {
        response = StatusCode::NOT_MODIFIED.into_response();
    }
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, CACHE);
    response
}

/// The document as a file.
pub fn openapi_text() -> String {
    format!("{:#}\n", openapi_document())
}

/// `GET /openapi.json`
pub async fn openapi(asked: HeaderMap) -> Response {
    DOCUMENT.answer(&asked, "application/json")
}

/// `GET /docs`
pub async fn docs(asked: HeaderMap) -> Response {
    html(&asked, PAGE.to_owned())
}

/// A page of the reference.
pub fn html(asked: &HeaderMap, page: String) -> Response {
    let tag = tag(page.as_bytes());
    let mut response = revalidated(asked, &tag, axum::response::Html(page).into_response());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// `GET /docs/{name}`: script and style of the pages.
pub async fn file(name: Result<Path<String>, PathRejection>, asked: HeaderMap) -> Result<Response, Error> {
    let Ok(Path(name)) = name else { return Err(Error::NotFound("file")) };
    match name.as_str() {
        "docs.js" => Ok(START_FILE.answer(&asked, JS_TYPE)),
        "pages.css" => Ok(STYLE_FILE.answer(&asked, CSS_TYPE)),
        "licences.txt" => Ok(LICENCES_FILE.answer(&asked, TEXT_TYPE)),
        "swagger-ui-bundle.js" => Ok(BUNDLE_FILE.answer(&asked, JS_TYPE)),
        "swagger-ui.css" => Ok(BUNDLE_STYLE_FILE.answer(&asked, CSS_TYPE)),
        _ => Err(Error::NotFound("file")),
    }
}

/// Empty where the file in the program is broken, which a test would show.
fn inflated(compressed: &[u8]) -> Bytes {
    let mut whole = Vec::new();
    match GzDecoder::new(compressed).read_to_end(&mut whole) {
        Ok(_) => whole.into(),
        Err(_) => Bytes::new(),
    }
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    let accepted = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip")) && parts.next() != Some("q=0")
    })
}

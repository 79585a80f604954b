//! What the next page says of the action before it.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cookies::Jar;
use crate::http::extract::cookie;

const LIFE: Duration = Duration::from_secs(60);
const MAX_CHARS: usize = 300;

/// Leads to another page, which says this once.
pub fn redirect(jar: Jar, to: &str, says: &str) -> Response {
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to.to_owned())]).into_response();
    let says: String = says.chars().take(MAX_CHARS).collect();
    if let Some(line) = jar.set(jar.flash(), &URL_SAFE_NO_PAD.encode(says), LIFE) {
        response.headers_mut().append(header::SET_COOKIE, line);
    }
    response
}

/// What the page before left to say.
pub fn read(jar: Jar, headers: &HeaderMap) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(cookie::get(headers, jar.flash())?).ok()?;
    String::from_utf8(bytes).ok().filter(|text| text.chars().count() <= MAX_CHARS && !text.is_empty())
}

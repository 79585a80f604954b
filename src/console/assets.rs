//! The console's style, script and icon, under names that change with their content.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::fault::Fault;
use crate::secret::sha256_hex;

const CSS: &str = concat!(include_str!("assets/console.css"), include_str!("assets/pages.css"));
const JS: &str = concat!(include_str!("assets/console.js"), include_str!("assets/pages.js"));
const ICON: &str = include_str!("assets/icon.svg");
/// The name of a file is never used for other content.
const CACHE: &str = "public, max-age=31536000, immutable";

static CSS_PATH: LazyLock<String> = LazyLock::new(|| path(CSS, "css"));
static JS_PATH: LazyLock<String> = LazyLock::new(|| path(JS, "js"));
static ICON_PATH: LazyLock<String> = LazyLock::new(|| path(ICON, "svg"));

fn path(content: &str, kind: &str) -> String {
    let hash: String = sha256_hex(content.as_bytes()).chars().take(12).collect();
    format!("/console/assets/console-{hash}.{kind}")
}

pub fn css() -> &'static str {
    &CSS_PATH
}

pub fn js() -> &'static str {
    &JS_PATH
}

pub fn icon() -> &'static str {
    &ICON_PATH
}

/// `GET /console/assets/{name}`
pub async fn get(Path(name): Path<String>) -> Result<Response, Fault> {
    let files = [
        (css(), "text/css; charset=utf-8", CSS),
        (js(), "text/javascript; charset=utf-8", JS),
        (icon(), "image/svg+xml", ICON),
    ];
    let found = files.into_iter().find(|(path, ..)| path.rsplit('/').next() == Some(name.as_str()));
    let (_, kind, content) = found.ok_or(Fault::NotFound)?;
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, CACHE)], content).into_response())
}

//! `POST /console/preferences`: the language and the colours, kept by the browser.

use std::time::Duration;

use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};

use crate::console::fault::Fault;
use crate::console::form::PostedHere;
use crate::console::links;
use crate::console::state::{Console, Theme};
use crate::console::words::Lang;

const KEPT: Duration = Duration::from_secs(365 * 24 * 3600);

pub async fn set(app: Console, PostedHere(fields): PostedHere) -> Result<Response, Fault> {
    let jar = app.shared.jar;
    let lang = fields.get("lang").and_then(Lang::parse).map(|lang| (jar.lang(), lang.as_str()));
    let theme = fields.get("theme").and_then(Theme::parse).map(|theme| (jar.theme(), theme.as_str()));
    let mut response = Redirect::to(links::inside(fields.get("back").unwrap_or_default())).into_response();
    for (name, value) in [lang, theme].into_iter().flatten() {
        if let Some(line) = jar.set(name, value, KEPT) {
            response.headers_mut().append(header::SET_COOKIE, line);
        }
    }
    Ok(response)
}

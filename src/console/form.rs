//! What a form posts, after it was checked that it comes from a page of this very site and session.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, header};
use url::form_urlencoded;

use super::fault::Fault;
use super::state::{Console, ConsoleShared};
use super::viewer::Viewer;
use crate::http::extract::body;

/// Extractor: a form of the session, with its CSRF token and from this site. Take it after [`Viewer`] or alone: it
/// holds the viewer.
pub struct Posted {
    pub viewer: Viewer,
    pub fields: Fields,
}

/// Extractor: a form from this site, of no session: the login and the invitation.
pub struct PostedHere(pub Fields);

/// The fields of a form.
#[derive(Debug, Clone, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(bytes: &[u8]) -> Fields {
        Fields(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The value of a field without the blanks around it; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.exact(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The value of a field as it was entered: a password.
    pub fn exact(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Names and values, as they were entered.
    pub fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().cloned()
    }

    /// Every value of a field: checked boxes.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl FromRequest<Arc<ConsoleShared>> for Posted {
    type Rejection = Fault;

    async fn from_request(request: Request, shared: &Arc<ConsoleShared>) -> Result<Posted, Fault> {
        let (mut parts, body) = request.into_parts();
        from_this_site(&parts.headers, &shared.origin)?;
        let viewer = Viewer::from_request_parts(&mut parts, shared).await?;
        let app = Console::of_request(&mut parts, shared);
        let fields = read(&app, &parts.headers, body).await?;
        if !fields.get("csrf").is_some_and(|token| viewer.is_csrf(token)) {
            return Err(Fault::ForeignForm);
        }
        Ok(Posted { viewer, fields })
    }
}

impl FromRequest<Arc<ConsoleShared>> for PostedHere {
    type Rejection = Fault;

    async fn from_request(request: Request, shared: &Arc<ConsoleShared>) -> Result<PostedHere, Fault> {
        let (mut parts, body) = request.into_parts();
        from_this_site(&parts.headers, &shared.origin)?;
        let app = Console::of_request(&mut parts, shared);
        Ok(PostedHere(read(&app, &parts.headers, body).await?))
    }
}

async fn read(app: &Console, headers: &HeaderMap, body: axum::body::Body) -> Result<Fields, Fault> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Fault::ForeignForm);
    }
    let bytes: Bytes = body::read(headers, body, app.config.server.body_timeout)
        .await
        .map_err(|e| Fault::Unusable(crate::http::Error::from(e).to_string()))?;
    Ok(Fields::parse(&bytes))
}

/// Browsers say where a form comes from, and a page cannot change it. A proxy may replace the `Host` that they name.
fn from_this_site(headers: &HeaderMap, own: &str) -> Result<(), Fault> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_here = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) if site != "same-origin" => false,
        (_, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            origin == own || host.is_some() && host == text("host")
        }
        (Some(_), None) => true,
        (None, None) => false,
    };
    if is_here { Ok(()) } else { Err(Fault::ForeignForm) }
}

//! A request with its body read, and the address it came from.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, header};

use super::body;
use super::client_addr::client_ip;
use crate::http::middleware::remote_ip;
use crate::http::problem::Error;
use crate::http::state::HttpState;

pub struct Posted {
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The client's address.
    pub client: IpAddr,
}

impl Posted {
    /// A body that must be said to be JSON.
    pub async fn json(app: &HttpState, request: Request) -> Result<Posted, Error> {
        json_only(request.headers())?;
        Posted::read(app, request).await
    }

    /// A body that must be said to be JSON where there is one.
    pub async fn optional_json(app: &HttpState, request: Request) -> Result<Posted, Error> {
        let posted = Posted::read(app, request).await?;
        if !posted.body.is_empty() {
            json_only(&posted.headers)?;
        }
        Ok(posted)
    }

    async fn read(app: &HttpState, request: Request) -> Result<Posted, Error> {
        let (parts, body) = request.into_parts();
        let body = body::read(&parts.headers, body, app.config.server.body_timeout).await?;
        let client = client_ip(remote_ip(&parts.extensions), &parts.headers, &app.config.server.trusted_proxies);
        Ok(Posted { headers: parts.headers, body, client })
    }
}

/// Refuses a body that is not said to be JSON.
pub(crate) fn json_only(headers: &HeaderMap) -> Result<(), Error> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(Error::MediaType) }
}

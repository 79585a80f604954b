//! The answers of `/healthz`, `/readyz` and `/metrics`.
//!
//! Alive is not ready: `/healthz` uses no dependency, so that a database outage never gets a healthy process killed.
//! The listener of `server.admin_listen` shows everything to everyone; the public one shows strangers whether the
//! process is ready.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::local::{Insider, MaybeInsider};
use super::readiness::look_up;
use crate::http::state::HttpState;

#[derive(Serialize)]
struct Ready {
    ready: bool,
}

/// `GET /healthz`
pub async fn healthz() -> Response {
    "ok\n".into_response()
}

/// `GET /readyz` of the public listener.
pub async fn public_readyz(app: HttpState, MaybeInsider(insider): MaybeInsider) -> Response {
    match insider {
        Some(Insider) => readyz(app).await,
        None => {
            // A process that ends says so at once.
            let ready = !app.shutdown.is_cancelled() && app.readiness.get(async { look_up(&app).await.ready }).await;
            (status(ready), axum::Json(Ready { ready })).into_response()
        }
    }
}

/// `GET /readyz` of `server.admin_listen`.
pub async fn readyz(app: HttpState) -> Response {
    let readiness = look_up(&app).await;
    (status(readiness.ready), axum::Json(readiness)).into_response()
}

fn status(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// `GET /metrics` of the public listener.
pub async fn public_metrics(app: HttpState, Insider: Insider) -> Response {
    metrics(app).await
}

/// `GET /metrics` of `server.admin_listen`.
pub async fn metrics(app: HttpState) -> Response {
    let mut response = (app.metrics)().into_response();
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    response
}

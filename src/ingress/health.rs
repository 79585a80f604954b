//! `/healthz`, `/readyz`, `/metrics`: for supervisors, balancers and monitoring.
//!
//! Alive is not ready: `/healthz` asks nothing of anybody, so that a database's trouble never gets a sound process killed.
//! `/readyz` names each thing it checked with the reason; its words are for operators, so they stay short and hold no
//! addresses.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::routes::App;

/// Gives the text of `/metrics`.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// A check that takes longer has failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    checks: [Check; 3],
}

fn check(name: &'static str, problem: Option<&'static str>) -> Check {
    Check { name, ok: problem.is_none(), reason: problem }
}

/// `GET /healthz`
pub async fn healthz() -> Response {
    plain("ok\n".into())
}

/// `GET /readyz`
pub async fn readyz(State(app): State<Arc<App>>) -> Response {
    let (database, bus) = tokio::join!(
        tokio::time::timeout(CHECK_TIMEOUT, app.store.db().ping()),
        tokio::time::timeout(CHECK_TIMEOUT, app.bus.lag()),
    );
    let database = match database {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some("does not answer"),
        Err(_) => Some("does not answer in time"),
    };
    let bus = match bus {
        Ok(Ok(_)) => None,
        Ok(Err(_)) => Some("does not answer"),
        Err(_) => Some("does not answer in time"),
    };
    let stopping = app.shutdown.is_cancelled().then_some("shutting down");
    let checks = [check("database", database), check("bus", bus), check("process", stopping)];
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Readiness { ready, checks })).into_response()
}

/// `GET /metrics`
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut response = plain((app.metrics)());
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    response
}

fn plain(text: String) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], text).into_response()
}

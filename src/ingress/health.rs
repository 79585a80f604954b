//! `/healthz`, `/readyz`, `/metrics`: for supervisors, balancers and monitoring.
//!
//! Alive is not ready: `/healthz` asks nothing of anybody, so that a database's trouble never gets a sound process killed.
//! `/readyz` names each thing it checked with the reason; its words are for operators, so they stay short and hold no
//! addresses. An app whose token is not fresh is told there and does not make the process unready: payments need no
//! token, and another process could do no better.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::routes::App;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::store::{Degraded, TokenKind, TokenStanding};

/// Gives the text of `/metrics`.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// A check that takes longer has failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Check {
    name: String,
    ok: bool,
    reason: Option<String>,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    checks: Vec<Check>,
}

fn check(name: impl Into<String>, problem: Option<impl Into<String>>) -> Check {
    Check { name: name.into(), ok: problem.is_none(), reason: problem.map(Into::into) }
}

/// `GET /healthz`
pub async fn healthz() -> Response {
    plain("ok\n".into())
}

/// `GET /readyz`
pub async fn readyz(State(app): State<Arc<App>>) -> Response {
    let (database, bus, standings) = tokio::join!(
        tokio::time::timeout(CHECK_TIMEOUT, app.store.db().ping()),
        tokio::time::timeout(CHECK_TIMEOUT, app.bus.lag()),
        tokio::time::timeout(CHECK_TIMEOUT, app.store.token_standings()),
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
    let mut checks = vec![check("database", database), check("bus", bus), check("process", stopping)];
    let ready = checks.iter().all(|check| check.ok);
    let standings = standings.ok().and_then(Result::ok);
    checks.extend(apps(&app.config, standings.as_deref(), app.clock.now()));
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Readiness { ready, checks })).into_response()
}

/// A check per app whose tokens are kept. `standings` is missing where the database did not say.
fn apps(config: &Config, standings: Option<&[TokenStanding]>, now: Timestamp) -> Vec<Check> {
    if config.web.session_key.is_none() {
        return Vec::new();
    }
    let of_app = |app: &crate::config::App| {
        let problems: Vec<String> = TokenKind::of(app)
            .iter()
            .filter_map(|kind| {
                let problem = match standings {
                    Some(all) => problem(all.iter().find(|s| s.app == app.key && s.kind == *kind), now),
                    None => Some("the database does not say".to_owned()),
                };
                problem.map(|problem| format!("{}: {problem}", kind.as_str()))
            })
            .collect();
        check(format!("app:{}", app.key), (!problems.is_empty()).then(|| problems.join("; ")))
    };
    config.apps.iter().filter(|app| !TokenKind::of(app).is_empty()).map(of_app).collect()
}

fn problem(standing: Option<&TokenStanding>, now: Timestamp) -> Option<String> {
    let Some(standing) = standing else { return Some("not fetched yet".to_owned()) };
    if let Some(Degraded { reason, errcode, since, .. }) = &standing.degraded {
        let errcode = errcode.map(|errcode| format!(", errcode {errcode}")).unwrap_or_default();
        return Some(format!("{reason}{errcode}, since {since}"));
    }
    match standing.expires_at {
        None => Some("not fetched yet".to_owned()),
        Some(at) if at <= now => Some(format!("expired at {at}")),
        Some(_) => None,
    }
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

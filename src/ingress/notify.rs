//! `POST /notify/{merchant}/pay`: WeChat tells of a payment.
//!
//! Verified in memory, published, acknowledged by the bus as durable, and only then answered with SUCCESS: after that WeChat never
//! speaks of this payment again. Every other end answers FAIL, after which WeChat repeats. The verdict here only decides what
//! is worth keeping: the worker verifies again.

use std::sync::Arc;

use axum::RequestPartsExt;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics::{counter, histogram};
use tokio::time::Instant;

use super::body::BodyError;
use super::client_addr::client_ip;
use super::error::Error;
use super::quarantine::Refused;
use super::routes::App;
use super::{body, guard};
use crate::config::Merchant;
use crate::event::command::NotifyReceived;
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::ids::AppId;
use crate::telemetry::{NOTIFY_ACK_SECONDS, NOTIFY_RECEIVED_TOTAL};
use crate::wechat::v2::notify::{NotifyError, REPLY_CONTENT_TYPE, parse_and_verify, reply_fail, reply_success};

/// What the ingress makes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// WeChat's signature holds and it is ours: keep it, then SUCCESS.
    Verified,
    /// WeChat's signature holds, yet it is not in a form we know: keep it, but let WeChat repeat it until somebody can
    /// read it.
    Undecidable(NotifyError),
    /// Not WeChat's, or not for us.
    Bad(NotifyError),
}

fn judge(body: &[u8], merchant: &Merchant, apps: &[AppId]) -> Verdict {
    match parse_and_verify(body, merchant, apps) {
        Ok(_) => Verdict::Verified,
        Err(e @ NotifyError::Incomplete(_)) => Verdict::Undecidable(e),
        Err(
            e @ (NotifyError::HostileXml(_)
            | NotifyError::NoSuccess
            | NotifyError::Unsigned
            | NotifyError::WrongSignature
            | NotifyError::Undecipherable
            | NotifyError::Foreign),
        ) => Verdict::Bad(e),
    }
}

/// The route.
pub async fn pay(State(app): State<Arc<App>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let named = parts.extract::<Path<String>>().await.ok();
    let merchant = named.and_then(|Path(key)| app.config.merchant(&key));
    received(&app, merchant, &parts, body).await
}

/// `POST /api/wechat/pay/callback`: the same, for the first merchant.
pub async fn pay_first(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    received(&app, app.config.merchants.first(), &parts, body).await
}

async fn received(app: &App, merchant: Option<&Merchant>, parts: &Parts, body: Body) -> Response {
    let Some(merchant) = merchant else { return fail(StatusCode::NOT_FOUND, "MERCHANT") };
    let body = match body::read(&parts.headers, body, app.config.server.body_timeout).await {
        Ok(body) => body,
        Err(e) => return unreadable(merchant, e),
    };
    let begun = Instant::now();
    let remote = client_ip(guard::remote_ip(&parts.extensions), &parts.headers, &app.config.server.trusted_proxies);
    let (result, response) = decide(app, merchant, &parts.headers, remote.to_string(), body).await;
    count(merchant, result);
    histogram!(NOTIFY_ACK_SECONDS).record(begun.elapsed());
    response
}

async fn decide(
    app: &App,
    merchant: &Merchant,
    headers: &HeaderMap,
    remote: String,
    body: Bytes,
) -> (&'static str, Response) {
    let at = app.clock.now();
    let apps: Vec<AppId> =
        merchant.apps.iter().filter_map(|key| app.config.app(key.as_str())).map(|app| app.app_id.clone()).collect();
    let verdict = judge(&body, merchant, &apps);
    if let Verdict::Bad(e) = verdict {
        app.quarantine.sample(Refused { merchant: merchant.key.clone(), reason: e.reason(), remote, body, at });
        return (e.reason(), fail(StatusCode::OK, e.reply_text()));
    }
    crate::crash::point("ingress.verified");
    let received = NotifyReceived { body: body.to_vec(), headers: kept(headers), remote_addr: remote, received_at: at };
    let envelope = Envelope::new(&merchant.key, NotifyReceived::TYPE, None, at, received);
    let published = app.publish(subject::notify_received(&merchant.key), envelope);
    match tokio::time::timeout(app.config.server.notify_ack_timeout, published).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let (merchant, request_id) = (&merchant.key, guard::request_id());
            tracing::error!(%merchant, request_id, error = error.for_log(), "A notification could not be kept");
            return ("unavailable", fail(StatusCode::SERVICE_UNAVAILABLE, "BUSY"));
        }
        Err(_) => {
            let (merchant, request_id) = (&merchant.key, guard::request_id());
            tracing::error!(%merchant, request_id, "A notification was not acknowledged as durable in time");
            return ("unavailable", fail(StatusCode::SERVICE_UNAVAILABLE, "BUSY"));
        }
    }
    crate::crash::point("ingress.published");
    match verdict {
        Verdict::Verified => ("accepted", xml(StatusCode::OK, reply_success())),
        Verdict::Undecidable(e) | Verdict::Bad(e) => (e.reason(), fail(StatusCode::OK, e.reply_text())),
    }
}

/// A body that could not even be read. The problem's status and its wish to close, in WeChat's own format.
fn unreadable(merchant: &Merchant, error: BodyError) -> Response {
    let (result, text) = match error {
        BodyError::Encoded => ("encoded", "ENCODING"),
        BodyError::TooLarge => ("too_large", "SIZE"),
        BodyError::Slow => ("slow", "TIMEOUT"),
        BodyError::CutOff => ("cut_off", "BODY"),
    };
    count(merchant, result);
    let problem = Error::from(error).into_response();
    let mut response = fail(problem.status(), text);
    if let Some(close) = problem.headers().get(header::CONNECTION) {
        response.headers_mut().insert(header::CONNECTION, close.clone());
    }
    response
}

fn count(merchant: &Merchant, result: &'static str) {
    counter!(NOTIFY_RECEIVED_TOTAL, "merchant" => merchant.key.to_string(), "result" => result).increment(1);
}

fn fail(status: StatusCode, reason: &str) -> Response {
    xml(status, reply_fail(reason))
}

fn xml(status: StatusCode, body: impl IntoResponse) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(REPLY_CONTENT_TYPE));
    response
}

/// Headers that speak of the connection or let somebody in are not kept.
const LEFT_OUT: &[&str] = &[
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
    "proxy-authorization",
    "authorization",
    "cookie",
];

fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let kept = headers.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()));
    kept.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().escape_ascii().to_string())).collect()
}

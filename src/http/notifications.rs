//! `POST /notify/{merchant}/pay` and `…/refund`: WeChat tells of a payment, or of what became of a refund. Either
//! address takes either: which one it is, the contents say.
//!
//! Verified in memory, made durable (in the intake log, or published and acknowledged by the bus), and only then
//! answered with SUCCESS: after that WeChat never notifies of this payment again. Every other end answers FAIL, after
//! which WeChat repeats. The verdict here only decides what is worth keeping: the worker verifies again. A refund's
//! notification has no signature; that it can be decrypted and read is all that can be asked of it here, and the worker
//! takes nothing from it but a reason to ask WeChat.

use axum::RequestPartsExt;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics::{counter, histogram};
use tokio::time::Instant;

use super::extract::body;
use super::extract::body::BodyError;
use super::extract::client_addr::client_ip;
use super::extract::request_id::request_id;
use super::middleware;
use super::problem::Error;
use super::quarantine::Refused;
use super::state::HttpState;
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::event::command::{NoticeKind, NotifyReceived};
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::ids::AppId;
use crate::intake::Record;
use crate::ops::mask::is_header_shown;
use crate::store::NotificationKind;
use crate::telemetry::{NOTIFY_ACK_SECONDS, NOTIFY_RECEIVED_TOTAL};
use crate::wechat::v2::notify::{NotifyError, REPLY_CONTENT_TYPE, parse_and_verify, reply_fail, reply_success};
use crate::wechat::v2::refund_notify::{is_refund, may_be_refund, parse_and_decrypt};

/// Bytes of a header that are kept with a notification, and headers.
const MAX_HEADER_KEPT: usize = 256;
const MAX_HEADERS_KEPT: usize = 20;
/// The element that holds everything a refund's notification says.
const ENCRYPTED: &str = "req_info";
/// A notification that only the newer API's key opens.
const NEEDS_V3_KEY: &str = "needs_v3_key";

/// What the ingress makes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// WeChat's signature holds and it is ours: keep it, then SUCCESS.
    Verified,
    /// WeChat's signature holds, yet it is not in a form we know: keep it, but let WeChat repeat it until a process can
    /// read it.
    Undecidable(NotifyError),
    /// Not WeChat's, or not for us.
    Bad(NotifyError),
}

/// What a body that came to the address for `addressed` is about.
fn kind_of(addressed: NoticeKind, body: &[u8]) -> NoticeKind {
    match (addressed, may_be_refund(body)) {
        // What nearly every notification is needs no second parsing.
        (NoticeKind::Pay, false) => NoticeKind::Pay,
        (NoticeKind::Refund, true) => NoticeKind::Refund,
        (NoticeKind::Pay, true) | (NoticeKind::Refund, false) => match is_refund(body) {
            Some(true) => NoticeKind::Refund,
            Some(false) => NoticeKind::Pay,
            None => addressed,
        },
    }
}

fn judge(kind: NoticeKind, body: &[u8], merchant: &Merchant, apps: &[AppId], received_at: Timestamp) -> Verdict {
    let judged = match kind {
        NoticeKind::Pay => parse_and_verify(body, merchant, apps, received_at).map(|_| ()),
        NoticeKind::Refund => match parse_and_decrypt(body, merchant, apps, received_at) {
            // Nothing of it was encrypted: any sender could have written it.
            Err(NotifyError::Incomplete(what)) if what.field == ENCRYPTED => {
                return Verdict::Bad(NotifyError::Unsigned);
            }
            other => other.map(|_| ()),
        },
    };
    match judged {
        Ok(()) => Verdict::Verified,
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

/// `POST /notify/{merchant}/pay`
pub async fn pay(app: HttpState, request: Request) -> Response {
    receive(app, request, NoticeKind::Pay).await
}

/// `POST /notify/{merchant}/refund`
pub async fn refund(app: HttpState, request: Request) -> Response {
    receive(app, request, NoticeKind::Refund).await
}

async fn receive(app: HttpState, request: Request, kind: NoticeKind) -> Response {
    let (mut parts, body) = request.into_parts();
    let named = parts.extract::<Path<String>>().await.ok();
    let merchant = named.and_then(|Path(key)| app.config.merchant(&key));
    received(&app, merchant, &parts, body, kind).await
}

/// `POST /api/wechat/pay/callback`: the same, for the first merchant.
pub async fn pay_first(app: HttpState, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    received(&app, app.config.merchants.first(), &parts, body, NoticeKind::Pay).await
}

async fn received(
    app: &HttpState,
    merchant: Option<&Merchant>,
    parts: &Parts,
    body: Body,
    kind: NoticeKind,
) -> Response {
    let Some(merchant) = merchant else { return fail(StatusCode::NOT_FOUND, "MERCHANT") };
    let body = match body::read(&parts.headers, body, app.config.server.body_timeout).await {
        Ok(body) => body,
        Err(e) => return unreadable(merchant, e),
    };
    let begun = Instant::now();
    let remote =
        client_ip(middleware::remote_ip(&parts.extensions), &parts.headers, &app.config.server.trusted_proxies);
    let post = Post { kind, headers: &parts.headers, remote: remote.to_string(), body };
    let (result, response) = decide(app, merchant, post).await;
    count(merchant, result);
    histogram!(NOTIFY_ACK_SECONDS).record(begun.elapsed());
    response
}

struct Post<'a> {
    kind: NoticeKind,
    headers: &'a HeaderMap,
    remote: String,
    body: Bytes,
}

async fn decide(app: &HttpState, merchant: &Merchant, post: Post<'_>) -> (&'static str, Response) {
    let Post { kind: addressed, headers, remote, body } = post;
    if looks_like_v3(&body, headers) {
        // The same addresses get notifications of API v3, which need a key that is not configured here.
        // Any sender can forge it, so it is no more than a sample; WeChat repeats it until a process can
        // read it.
        let at = app.clock.now();
        let post = Post { kind: addressed, headers, remote, body };
        app.quarantine.keep(refused(merchant, NEEDS_V3_KEY, post, at));
        return (NEEDS_V3_KEY, fail(StatusCode::SERVICE_UNAVAILABLE, "KEY"));
    }
    let kind = kind_of(addressed, &body);
    let at = app.clock.now();
    let apps: Vec<AppId> =
        merchant.apps.iter().filter_map(|key| app.config.app(key.as_str())).map(|app| app.app_id.clone()).collect();
    let verdict = judge(kind, &body, merchant, &apps, at);
    match &verdict {
        Verdict::Bad(NotifyError::WrongSignature | NotifyError::Undecipherable) => {
            app.notify_health.failed(merchant, at)
        }
        Verdict::Verified | Verdict::Undecidable(_) => app.notify_health.verified(merchant, at),
        Verdict::Bad(_) => {}
    }
    if let Verdict::Bad(e) = verdict {
        app.quarantine.keep(refused(merchant, e.reason(), Post { kind, headers, remote, body }, at));
        return (e.reason(), fail(StatusCode::OK, e.reply_text()));
    }
    crate::failpoint::point("ingress.verified");
    if let Err(response) = keep(app, merchant, Post { kind, headers, remote, body }, at).await {
        return ("unavailable", response);
    }
    crate::failpoint::point("ingress.published");
    match verdict {
        Verdict::Verified => ("accepted", xml(StatusCode::OK, reply_success())),
        Verdict::Undecidable(e) | Verdict::Bad(e) => (e.reason(), fail(StatusCode::OK, e.reply_text())),
    }
}

fn refused(merchant: &Merchant, reason: &'static str, post: Post<'_>, at: Timestamp) -> Refused {
    let Post { kind, headers, remote, body } = post;
    let kind = match kind {
        NoticeKind::Pay => NotificationKind::Pay,
        NoticeKind::Refund => NotificationKind::Refund,
    };
    Refused { merchant: merchant.key.clone(), kind, reason, headers: kept(headers), remote, body, at }
}

/// Publishes what was posted; returns when it is durable. The error is the answer after which WeChat repeats.
async fn keep(app: &HttpState, merchant: &Merchant, post: Post<'_>, at: Timestamp) -> Result<(), Response> {
    let Post { kind, headers, remote, body } = post;
    let received =
        NotifyReceived { body: body.to_vec(), headers: kept(headers), remote_addr: remote, received_at: at, kind };
    let envelope = Envelope::new(&merchant.key, NotifyReceived::TYPE, None, at, received);
    let subject = match kind {
        NoticeKind::Pay => subject::notify_received(&merchant.key),
        NoticeKind::Refund => subject::notify_refund(&merchant.key),
    };
    let busy = || fail(StatusCode::SERVICE_UNAVAILABLE, "BUSY");
    match tokio::time::timeout(app.config.server.notify_ack_timeout, store(app, subject, envelope)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let (merchant, request_id) = (&merchant.key, request_id());
            tracing::error!(%merchant, request_id, error, "A notification could not be stored");
            Err(busy())
        }
        Err(_) => {
            let (merchant, request_id) = (&merchant.key, request_id());
            tracing::error!(%merchant, request_id, "A notification was not acknowledged as durable in time");
            Err(busy())
        }
    }
}

/// Into the intake log of this process, where it has one; otherwise into the queue.
async fn store(app: &HttpState, subject: String, envelope: Envelope<NotifyReceived>) -> Result<(), String> {
    let Some(log) = &app.intake else {
        return app.publish(subject, envelope).await.map_err(|e| e.for_log());
    };
    let (id, accepted_at) = (envelope.id, envelope.time);
    let payload = envelope.to_stored().map_err(|e| e.to_string())?;
    log.append(Record { subject, id, accepted_at, payload }).await.map_err(|e| e.to_string())
}

/// Whether it has the shape of the newer API's notifications: JSON, with its signature in headers.
fn looks_like_v3(body: &[u8], headers: &HeaderMap) -> bool {
    body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{') && headers.contains_key("wechatpay-signature")
}

/// A body that could not even be read. The problem's status and its `Connection: close`, in WeChat's own format.
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

fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let shown = headers.iter().filter(|(name, _)| is_header_shown(name.as_str())).take(MAX_HEADERS_KEPT);
    let beginning = |value: &[u8]| value.get(..MAX_HEADER_KEPT).unwrap_or(value).escape_ascii().to_string();
    shown.map(|(name, value)| (name.as_str().to_owned(), beginning(value.as_bytes()))).collect()
}

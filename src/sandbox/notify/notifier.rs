//! One notification from its elements and signature to how it ended.
//!
//! When it is sent again is decided in `schedule`; the elements of a refund's are in `refund_notification`.

use super::notification::{Notification, payment_fields};
use super::refund_notification;
use super::sender::Answer;
use crate::sandbox::faults::{Hit, Kind};
use crate::sandbox::forgery::{another_merchant, one_fen_more, tamper, wrong_key};
use crate::sandbox::ledger::record::{Delivery, Outcome};
use crate::sandbox::state::SandboxState;
use crate::secret::random_text;
use crate::wechat::v2::sign::seal;
use crate::wechat::v2::xml;

/// Sends one notification, or what a fault makes of it, writes its end into the ledger and returns it: one delivery,
/// or one per copy.
pub(in crate::sandbox) async fn deliver(
    sandbox: &SandboxState,
    notification: &Notification,
    attempt: Option<u32>,
    hit: Option<Hit>,
) -> Vec<Delivery> {
    let mut copies = 1;
    if let Some(hit) = &hit {
        match hit.kind {
            Kind::Delay => tokio::time::sleep(hit.delay).await,
            Kind::Reorder => sandbox.let_another_pass(notification.on(), hit.delay).await,
            Kind::Duplicate => copies = hit.copies,
            // These spoil the message or its end, not its moment.
            Kind::Tamper
            | Kind::Drop
            | Kind::AnswerLost
            | Kind::HalfBody
            | Kind::WrongSign
            | Kind::ForgeAmount
            | Kind::Misdirect
            | Kind::Wrap
            | Kind::CrossMerchant => {}
            // Not possible on a notification; see `Kind::possible`.
            Kind::Hang
            | Kind::Reset
            | Kind::SystemError
            | Kind::Http500
            | Kind::Slow
            | Kind::RateLimit
            | Kind::Raw
            | Kind::Rewrite
            | Kind::ForeignAddress
            | Kind::CertificateExpired
            | Kind::Refuse
            | Kind::Errcode => {}
        }
    }
    let kind = hit.as_ref().map(|hit| hit.kind);
    let url = hit.as_ref().and_then(|hit| hit.url.as_deref()).unwrap_or(&notification.url);
    let mut body = match &notification.refund {
        None => body(sandbox, notification, kind),
        Some(refund) => refund_notification::body(sandbox, notification, refund, kind),
    };
    if kind == Some(Kind::HalfBody) {
        body.truncate(body.len() / 2);
    }
    let sending = (0..copies).map(|_| one(sandbox, (notification, url), attempt, kind, body.clone()));
    let deliveries = futures_util::future::join_all(sending).await;
    for delivery in &deliveries {
        if let Err(error) = sandbox.book().delivered(delivery.clone()) {
            tracing::error!(%error, "sandbox: a delivery could not be written to the journal");
        }
    }
    sandbox.passed.of(notification.on()).notify_waiters();
    deliveries
}

async fn one(
    sandbox: &SandboxState,
    (notification, url): (&Notification, &str),
    attempt: Option<u32>,
    fault: Option<Kind>,
    body: Vec<u8>,
) -> Delivery {
    let sent_at = sandbox.now();
    let answer = if fault == Some(Kind::Drop) {
        Answer { outcome: Outcome::Dropped, http_status: None, text: None }
    } else {
        sandbox.sender.post(url, &random_text(24), body).await
    };
    let lost = fault == Some(Kind::AnswerLost);
    Delivery {
        mch_id: notification.terms.mch_id.clone(),
        out_trade_no: notification.terms.out_trade_no.clone(),
        transaction_id: notification.payment.transaction_id.clone(),
        notify_url: url.to_owned(),
        attempt,
        fault,
        sent_at,
        answered_at: sandbox.now(),
        outcome: if lost { Outcome::AnswerLost } else { answer.outcome },
        http_status: answer.http_status,
        answer: answer.text,
        refund: notification.news(),
    }
}

fn body(sandbox: &SandboxState, notification: &Notification, fault: Option<Kind>) -> Vec<u8> {
    let own = &notification.account;
    let mut account = own.clone();
    let mut appid = notification.terms.appid.clone();
    let mut fields = payment_fields(&notification.terms, &notification.payment);
    if fault == Some(Kind::CrossMerchant) {
        account = another_merchant(sandbox, own);
        appid = account.appids.first().cloned().unwrap_or(appid);
    }
    if fault == Some(Kind::WrongSign) {
        account.v2_key = wrong_key(&own.v2_key);
    }
    if fault == Some(Kind::ForgeAmount) {
        one_fen_more(&mut fields);
    }
    for (name, value) in [
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("appid", appid.as_str()),
        ("mch_id", account.mch_id.as_str()),
        ("nonce_str", &random_text(32)),
    ] {
        fields.insert(name.to_owned(), value.to_owned());
    }
    // No `sign_type`, even with HMAC-SHA256: the length of the signature tells, as at WeChat.
    fields = seal(fields, &account.v2_key, notification.terms.sign_type);
    if fault == Some(Kind::Tamper) {
        tamper(&mut fields);
    }
    xml::write(&fields).into_bytes()
}

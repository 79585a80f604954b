//! One notification: a payment's elements and signature, the way over the wire, and how it ended. What a refund's
//! holds is `refunds_letter`'s business.
//!
//! WeChat counts a notification as taken only when the merchant answers HTTP 200 with `return_code` SUCCESS within five
//! seconds; redirects are not followed. When it is sent again is `schedule`'s business.

use std::time::Duration;

use super::refund_notification;
use crate::ids::MchId;
use crate::money::Fen;
use crate::sandbox::faults::{Hit, Kind, On};
use crate::sandbox::ids::mix;
use crate::sandbox::ledger::record::{CouponType, Delivery, Outcome, Payment, Refund, RefundNews, Terms};
use crate::sandbox::settings::Account;
use crate::sandbox::state::World;
use crate::secret::{V2Key, random_text, sha256_hex};
use crate::wechat::v2::sign::seal;
use crate::wechat::v2::xml;
use crate::wechat::v2::xml::Fields;

const TIMEOUT: Duration = Duration::from_secs(5);
/// How much of the merchant's answer is read, in bytes. A SUCCESS fits many times.
const ANSWER_LIMIT: usize = 8 * 1024;
/// How much of it the ledger keeps, in characters.
const ANSWER_KEPT: usize = 512;

/// What a notification is about, and who signs it.
#[derive(Clone)]
pub(in crate::sandbox) struct Letter {
    pub account: Account,
    pub terms: Terms,
    pub payment: Payment,
    /// The refund it tells of; otherwise it tells of the payment.
    pub refund: Option<Box<Refund>>,
    pub url: String,
}

impl Letter {
    /// What kind of notification it is.
    pub fn on(&self) -> On {
        if self.refund.is_some() { On::RefundNotify } else { On::Notify }
    }

    /// What it tells of a refund.
    pub fn news(&self) -> Option<RefundNews> {
        self.refund.as_ref().map(|refund| refund.news())
    }
}

/// The HTTP client that posts to merchants.
pub(in crate::sandbox) struct Sender(reqwest::Client);

struct Answer {
    outcome: Outcome,
    http_status: Option<u16>,
    text: Option<String>,
}

impl Sender {
    /// No proxy, no redirects, five seconds.
    pub fn new() -> Result<Sender, String> {
        reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent("Mozilla/4.0")
            .build()
            .map(Sender)
            .map_err(|error| error.to_string())
    }

    async fn post(&self, url: &str, request_id: &str, body: Vec<u8>) -> Answer {
        let sent = self
            .0
            .post(url)
            .header("Content-Type", "text/xml")
            .header("Request-ID", request_id)
            .body(body)
            .send()
            .await;
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return Answer { outcome: broken(&error), http_status: None, text: None },
        };
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while bytes.len() < ANSWER_LIMIT {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Answer { outcome: broken(&error), http_status: Some(status), text: None },
            }
        }
        let outcome = match status {
            200 if says_success(&bytes) => Outcome::Acknowledged,
            200 => Outcome::Refused,
            _ => Outcome::HttpError,
        };
        let text = String::from_utf8_lossy(&bytes).chars().take(ANSWER_KEPT).collect();
        Answer { outcome, http_status: Some(status), text: Some(text) }
    }
}

fn broken(error: &reqwest::Error) -> Outcome {
    if error.is_timeout() { Outcome::Timeout } else { Outcome::Unreachable }
}

fn says_success(answer: &[u8]) -> bool {
    xml::parse(answer).is_ok_and(|fields| fields.get("return_code").is_some_and(|code| code == "SUCCESS"))
}

/// Sends one notification, or what a fault makes of it, writes its end into the ledger and returns it: one delivery,
/// or one per copy.
pub(in crate::sandbox) async fn deliver(
    world: &World,
    letter: &Letter,
    attempt: Option<u32>,
    hit: Option<Hit>,
) -> Vec<Delivery> {
    let mut copies = 1;
    if let Some(hit) = hit {
        match hit.kind {
            Kind::Delay => tokio::time::sleep(hit.delay).await,
            Kind::Reorder => world.let_another_pass(letter.on(), hit.delay).await,
            Kind::Duplicate => copies = hit.copies,
            // These spoil the message or its end, not its moment.
            Kind::Tamper
            | Kind::Drop
            | Kind::AnswerLost
            | Kind::HalfBody
            | Kind::WrongSign
            | Kind::ForgeAmount
            | Kind::CrossMerchant => {}
            // Not possible on a notification; see `Kind::possible`.
            Kind::Hang
            | Kind::Reset
            | Kind::SystemError
            | Kind::Http500
            | Kind::Slow
            | Kind::RateLimit
            | Kind::Refuse
            | Kind::Errcode => {}
        }
    }
    let kind = hit.map(|hit| hit.kind);
    let mut body = match &letter.refund {
        None => body(world, letter, kind),
        Some(refund) => refund_notification::body(world, letter, refund, kind),
    };
    if kind == Some(Kind::HalfBody) {
        body.truncate(body.len() / 2);
    }
    let sending = (0..copies).map(|_| one(world, letter, attempt, kind, body.clone()));
    let deliveries = futures_util::future::join_all(sending).await;
    for delivery in &deliveries {
        if let Err(error) = world.book().delivered(delivery.clone()) {
            tracing::error!(%error, "sandbox: a delivery could not be written to the journal");
        }
    }
    world.passed.of(letter.on()).notify_waiters();
    deliveries
}

async fn one(world: &World, letter: &Letter, attempt: Option<u32>, fault: Option<Kind>, body: Vec<u8>) -> Delivery {
    let sent_at = world.now();
    let answer = if fault == Some(Kind::Drop) {
        Answer { outcome: Outcome::Dropped, http_status: None, text: None }
    } else {
        world.sender.post(&letter.url, &random_text(24), body).await
    };
    let lost = fault == Some(Kind::AnswerLost);
    Delivery {
        mch_id: letter.terms.mch_id.clone(),
        out_trade_no: letter.terms.out_trade_no.clone(),
        transaction_id: letter.payment.transaction_id.clone(),
        notify_url: letter.url.clone(),
        attempt,
        fault,
        sent_at,
        answered_at: world.now(),
        outcome: if lost { Outcome::AnswerLost } else { answer.outcome },
        http_status: answer.http_status,
        answer: answer.text,
        refund: letter.news(),
    }
}

fn body(world: &World, letter: &Letter, fault: Option<Kind>) -> Vec<u8> {
    let own = &letter.account;
    let mut account = own.clone();
    let mut appid = letter.terms.appid.clone();
    let mut fields = payment_fields(&letter.terms, &letter.payment);
    if fault == Some(Kind::CrossMerchant) {
        account = another_merchant(world, own);
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
    fields = seal(fields, &account.v2_key, letter.terms.sign_type);
    if fault == Some(Kind::Tamper) {
        tamper(&mut fields);
    }
    xml::write(&fields).into_bytes()
}

/// The elements that a notification and a query's answer share.
pub(in crate::sandbox) fn payment_fields(terms: &Terms, payment: &Payment) -> Fields {
    let mut fields = Fields::new();
    let mut put = |name: &str, value: String| {
        fields.insert(name.to_owned(), value);
    };
    put("openid", payment.openid.as_str().to_owned());
    put("is_subscribe", "N".to_owned());
    put("trade_type", terms.trade_type.as_str().to_owned());
    put("bank_type", payment.bank_type.clone());
    put("total_fee", payment.total_fee.to_string());
    put("fee_type", "CNY".to_owned());
    put("cash_fee", payment.cash_fee.to_string());
    put("cash_fee_type", "CNY".to_owned());
    put("transaction_id", payment.transaction_id.as_str().to_owned());
    put("out_trade_no", terms.out_trade_no.as_str().to_owned());
    put("time_end", payment.time_end.clone());
    if !terms.attach.is_empty() {
        put("attach", terms.attach.clone());
    }
    if !terms.device_info.is_empty() {
        put("device_info", terms.device_info.clone());
    }
    if let Some(coupon_type) = payment.coupon_type {
        put("coupon_fee", payment.coupon_fee.to_string());
        put("coupon_count", "1".to_owned());
        put("coupon_id_0", "10000".to_owned());
        put("coupon_fee_0", payment.coupon_fee.to_string());
        match coupon_type {
            CouponType::Cash => put("coupon_type_0", "CASH".to_owned()),
            CouponType::NoCash => {
                put("coupon_type_0", "NO_CASH".to_owned());
                put("settlement_total_fee", payment.cash_fee.to_string());
            }
        }
    }
    fields
}

/// Adds a fen to what a message says was paid, and to the refund it is about.
pub(in crate::sandbox) fn one_fen_more(fields: &mut Fields) {
    for name in ["total_fee", "cash_fee", "refund_fee", "refund_fee_0"] {
        if let Some(value) = fields.get_mut(name)
            && let Ok(fee) = Fen::parse_field(value)
        {
            *value = Fen::from_i64(fee.as_i64().saturating_add(1)).to_string();
        }
    }
}

/// Changes one element without signing again: what would pay off most, or else anything.
pub(in crate::sandbox) fn tamper(fields: &mut Fields) {
    for name in ["trade_state", "refund_status_0", "result_code"] {
        if let Some(value) = fields.get_mut(name).filter(|value| *value != "SUCCESS") {
            *value = "SUCCESS".to_owned();
            return;
        }
    }
    if fields.contains_key("total_fee") {
        return one_fen_more(fields);
    }
    for name in ["prepay_id", "nonce_str", "return_msg"] {
        if let Some(value) = fields.get_mut(name) {
            value.push('0');
            return;
        }
    }
}

/// A key that is not the merchant's.
pub(in crate::sandbox) fn wrong_key(key: &V2Key) -> V2Key {
    V2Key::parse(&sha256_hex(key.expose().as_bytes())[..32]).unwrap_or_else(|_| key.clone())
}

/// Another merchant of this simulator, or one made up when there is only one.
pub(in crate::sandbox) fn another_merchant(world: &World, own: &Account) -> Account {
    let known = world.accounts.values().filter(|a| a.mch_id != own.mch_id).min_by(|a, b| a.mch_id.cmp(&b.mch_id));
    known.cloned().unwrap_or_else(|| {
        let made_up = format!("19{:08}", mix(0, u64::try_from(own.mch_id.as_str().len()).unwrap_or(0)) % 100_000_000);
        Account {
            mch_id: MchId::parse(made_up).unwrap_or_else(|_| own.mch_id.clone()),
            v2_key: wrong_key(&own.v2_key),
            appids: own.appids.clone(),
        }
    })
}

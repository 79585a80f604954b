//! What a refund notification holds: an unsigned envelope around elements encrypted with the merchant's key.
//!
//! WeChat does not sign it. A party that has seen others of this merchant can therefore rearrange blocks of the
//! ciphertext, which is what `tamper` does here; a merchant must ask before it believes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::notification::Notification;
use crate::clock::Timestamp;
use crate::sandbox::faults::Kind;
use crate::sandbox::forgery::{another_merchant, one_fen_more, wrong_key};
use crate::sandbox::ledger::record::{CouponType, Refund, RefundStatus};
use crate::sandbox::state::SandboxState;
use crate::secret::{V2Key, random_text};
use crate::wechat::v2::refund_notify::encrypt;
use crate::wechat::v2::xml;
use crate::wechat::v2::xml::Fields;

/// Where the money of every simulated payer goes, in WeChat's words: their change.
pub(in crate::sandbox) const RECEIVER: &str = "支付用户零钱";

/// AES works on blocks of this many bytes; ECB leaves each of them alone.
const BLOCK: usize = 16;

/// Writes one notification, or what a fault makes of it.
pub(in crate::sandbox) fn body(
    sandbox: &SandboxState,
    notification: &Notification,
    refund: &Refund,
    fault: Option<Kind>,
) -> Vec<u8> {
    let own = &notification.account;
    let (mut account, mut appid) = (own.clone(), refund.appid.clone());
    if fault == Some(Kind::CrossMerchant) {
        account = another_merchant(sandbox, own);
        appid = account.appids.first().cloned().unwrap_or(appid);
    }
    if fault == Some(Kind::WrongSign) {
        account.v2_key = wrong_key(&own.v2_key);
    }
    let mut inner = elements(notification, refund);
    if fault == Some(Kind::ForgeAmount) {
        one_fen_more(&mut inner);
    }
    let mut req_info = sealed(&inner, &account.v2_key);
    if fault == Some(Kind::Tamper) {
        req_info = rearranged(&req_info);
    }
    if fault == Some(Kind::Wrap) {
        req_info = in_lines(&req_info);
    }
    let envelope = [
        ("return_code", "SUCCESS"),
        ("appid", appid.as_str()),
        ("mch_id", account.mch_id.as_str()),
        ("nonce_str", &random_text(32)),
        ("req_info", &req_info),
    ];
    let envelope: Fields = envelope.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    xml::write(&envelope).into_bytes()
}

/// The inner document's root is `root`, unlike that of every other message.
fn sealed(inner: &Fields, key: &V2Key) -> String {
    let document = xml::write(inner);
    let elements = document.trim_start_matches("<xml>").trim_end_matches("</xml>");
    let sealed = encrypt(format!("<root>{elements}</root>").as_bytes(), key);
    if sealed.is_none() {
        tracing::error!("sandbox: a refund notification could not be encrypted");
    }
    sealed.unwrap_or_default()
}

fn elements(notification: &Notification, refund: &Refund) -> Fields {
    let mut fields = Fields::new();
    let mut put = |name: &str, value: String| {
        fields.insert(name.to_owned(), value);
    };
    put("transaction_id", refund.transaction_id.as_str().to_owned());
    put("out_trade_no", refund.out_trade_no.as_str().to_owned());
    put("refund_id", refund.refund_id.clone());
    put("out_refund_no", refund.out_refund_no.clone());
    put("total_fee", refund.total_fee.to_string());
    let settled = match notification.payment.coupon_type {
        Some(CouponType::NoCash) => notification.payment.cash_fee,
        Some(CouponType::Cash) | None => notification.payment.total_fee,
    };
    put("settlement_total_fee", settled.to_string());
    put("refund_fee", refund.refund_fee.to_string());
    put("settlement_refund_fee", refund.settlement_refund_fee.to_string());
    put("cash_refund_fee", refund.cash_refund_fee().to_string());
    put("refund_status", refund.status.as_str().to_owned());
    put("refund_recv_accout", RECEIVER.to_owned());
    put("refund_account", refund.refund_account.clone());
    put("refund_request_source", refund.source.as_str().to_owned());
    if let (RefundStatus::Success, Some(at)) = (refund.status, refund.ended_at) {
        put("success_time", spaced(at));
    }
    fields
}

/// `yyyy-MM-dd HH:mm:ss` in Beijing time, as refunds have it.
pub(in crate::sandbox) fn spaced(at: Timestamp) -> String {
    let t = at.to_beijing();
    format!("{}-{}-{} {}:{}:{}", &t[..4], &t[4..6], &t[6..8], &t[8..10], &t[10..12], &t[12..])
}

/// As MIME encoders write base64: 76 characters a line.
fn in_lines(req_info: &str) -> String {
    let lines = req_info.as_bytes().chunks(76).map(String::from_utf8_lossy);
    lines.map(|line| format!("{line}\r\n")).collect()
}

/// Two blocks change places: still whole blocks, still the merchant's key.
fn rearranged(req_info: &str) -> String {
    let mut bytes = STANDARD.decode(req_info).unwrap_or_default();
    if bytes.len() >= 4 * BLOCK {
        let (front, back) = bytes.split_at_mut(2 * BLOCK);
        front[BLOCK..].swap_with_slice(&mut back[..BLOCK]);
    }
    STANDARD.encode(bytes)
}

//! What a refusal says about the merchant's own setup: its key, its numbers, its certificate, its address.
//!
//! Such a refusal comes before any business: nothing was executed, and the same call passes once the setup is
//! corrected.

use super::unsigned_words::{names, say_busy};
use crate::event::fact::WechatError;

// The words of unsigned refusals, in upper case, in the spellings seen.
const SIGNATURE: [&str; 7] =
    ["签名错误", "签名失败", "签名验证失败", "验签失败", "SIGN ERROR", "SIGNERROR", "INVALID SIGN"];
const MERCHANT: [&str; 6] =
    ["INVALID MCH_ID", "MCH_ID不存在", "MCH_ID错误", "商户号不存在", "商户号错误", "MCHID_NOT_EXIST"];
const APP: [&str; 5] = ["INVALID APPID", "APPID不存在", "APPID错误", "APPID_NOT_EXIST", "APPID_MCHID_NOT_MATCH"];
const CERTIFICATE: [&str; 4] = ["证书", "CERTIFICATE", "CERT_ERROR", "CERT ERROR"];
const ADDRESS: [&str; 9] =
    ["此IP", "IP地址不", "IP地址非", "IP不允许", "IP不在", "IP未授权", "IP白名单", "IP NOT ALLOWED", "IP WHITELIST"];

/// What of a merchant's setup WeChat refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetupFault {
    /// The signature: the API v2 key.
    Signature,
    /// The merchant's number.
    MchId,
    /// The app's number, or that it belongs to the merchant.
    AppId,
    /// The client certificate of refunds.
    Certificate,
    /// The address that the calls come from.
    Ip,
}

named!(SetupFault {
    Signature = "signature",
    MchId = "mch_id",
    AppId = "app_id",
    Certificate = "certificate",
    Ip = "ip",
});

impl SetupFault {
    /// What a refusal says about the setup; none where it is about the request.
    pub fn of(error: &WechatError) -> Option<SetupFault> {
        match error.code.as_str() {
            "SIGNERROR" => Some(SetupFault::Signature),
            "MCHID_NOT_EXIST" => Some(SetupFault::MchId),
            "APPID_NOT_EXIST" | "APPID_MCHID_NOT_MATCH" => Some(SetupFault::AppId),
            "CERT_ERROR" => Some(SetupFault::Certificate),
            // A permission that is missing is the request's; an address that is not listed is the merchant's.
            "NOAUTH" | "NO_AUTH" if name_address(&error.message) => Some(SetupFault::Ip),
            WechatError::FAIL => of_words(&error.message),
            _ => None,
        }
    }

    /// What to check, as the configuration names it.
    pub const fn check(self) -> &'static str {
        match self {
            SetupFault::Signature => "merchants.v2_key_file",
            SetupFault::MchId => "merchants.mch_id",
            SetupFault::AppId => "apps.app_id",
            SetupFault::Certificate => "merchants.client_cert_file",
            SetupFault::Ip => "the IP allow-list in WeChat's merchant platform",
        }
    }
}

/// What the words say about the merchant's setup, if that is what they are about.
pub(super) fn of_words(words: &str) -> Option<SetupFault> {
    let pairs_app_and_merchant = names(words, &["不匹配", "NOT MATCH"])
        && names(words, &["APPID"])
        && names(words, &["MCH_ID", "MCHID", "商户号"])
        && !names(words, &["OPENID"]);
    if say_busy(words) {
        None
    } else if names(words, &CERTIFICATE) {
        Some(SetupFault::Certificate)
    } else if name_address(words) {
        Some(SetupFault::Ip)
    } else if names(words, &SIGNATURE) {
        Some(SetupFault::Signature)
    } else if names(words, &APP) || pairs_app_and_merchant {
        Some(SetupFault::AppId)
    } else if names(words, &MERCHANT) {
        Some(SetupFault::MchId)
    } else {
        None
    }
}

/// Whether the words are about the address that the call came from; the payer's address is the order's.
fn name_address(words: &str) -> bool {
    names(words, &ADDRESS) && !names(words, &["SPBILL"])
}

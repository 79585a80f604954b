//! How the payer pays, and how API v2 signs: words of WeChat's that every part uses.

use serde::{Deserialize, Serialize};

/// WeChat's trade types of the unified order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TradeType {
    /// In a page inside WeChat, or in a mini program.
    Jsapi,
    /// By scanning a QR code.
    Native,
    /// In the shop's own mobile app.
    App,
    /// In a mobile browser outside WeChat.
    Mweb,
}

named!(TradeType { Jsapi = "JSAPI", Native = "NATIVE", App = "APP", Mweb = "MWEB" });

/// The algorithm of a signature, written as WeChat writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignType {
    /// 32 hex digits; WeChat's default.
    #[serde(rename = "MD5")]
    Md5,
    /// 64 hex digits.
    #[serde(rename = "HMAC-SHA256")]
    HmacSha256,
}

named!(SignType { Md5 = "MD5", HmacSha256 = "HMAC-SHA256" });

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

impl TradeType {
    /// WeChat's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            TradeType::Jsapi => "JSAPI",
            TradeType::Native => "NATIVE",
            TradeType::App => "APP",
            TradeType::Mweb => "MWEB",
        }
    }

    /// From WeChat's name.
    pub fn parse(text: &str) -> Option<TradeType> {
        match text {
            "JSAPI" => Some(TradeType::Jsapi),
            "NATIVE" => Some(TradeType::Native),
            "APP" => Some(TradeType::App),
            "MWEB" => Some(TradeType::Mweb),
            _ => None,
        }
    }
}

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

impl SignType {
    /// WeChat's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            SignType::Md5 => "MD5",
            SignType::HmacSha256 => "HMAC-SHA256",
        }
    }

    /// From WeChat's name.
    pub fn parse(text: &str) -> Option<SignType> {
        match text {
            "MD5" => Some(SignType::Md5),
            "HMAC-SHA256" => Some(SignType::HmacSha256),
            _ => None,
        }
    }
}

//! `unifiedorder`: registers a number for payment and returns the prepay handle for the payer's client.
//!
//! The parameters are built once, by [`params`], stored, and repeated byte for byte in every later call for the same
//! number: WeChat refuses a number that comes back with other parameters, and a recomputed `time_expire` would be
//! such a change. Only `nonce_str` and `sign` are new each time. This file calls once; the caller
//! decides whether to call again, and [`Placed::Refused`] is about this call alone.

use std::net::IpAddr;

use super::reply;
use super::reply::{Expected, text};
use super::request;
use super::xml;
use super::xml::Fields;
use crate::clock::Timestamp;
use crate::event::fact::{Prepay, WechatError};
use crate::ids::{AppId, IdError, MchId, OpenId, OutTradeNo};
use crate::money::Fen;
use crate::secret::V2Key;
use crate::trade::{SignType, TradeType};
use crate::wechat::outcome::{Api, Outcome};
use crate::wechat::transport::Client;

/// Maximum length of `body` and `attach` in bytes. The documentation gives both 127 and 128, and does not say whether
/// in bytes or characters: the smallest value is safe.
pub const TEXT_MAX_BYTES: usize = 127;
/// Maximum length of `product_id` and `device_info` in bytes.
pub const SHORT_MAX_BYTES: usize = 32;
/// Maximum length of `scene_info` and `notify_url` in bytes.
pub const LONG_MAX_BYTES: usize = 256;

/// An order as it is sent to WeChat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnifiedOrder {
    /// The app the payer pays in.
    pub appid: AppId,
    /// The merchant that receives the money.
    pub mch_id: MchId,
    /// How this order's messages are signed: calls, replies, notification and pay parameters alike.
    pub sign_type: SignType,
    /// The attempt's number.
    pub out_trade_no: OutTradeNo,
    /// The amount.
    pub total_fee: Fen,
    /// The description shown to the payer.
    pub body: String,
    /// The payer's address; an IPv4-mapped IPv6 address is unwrapped.
    pub spbill_create_ip: IpAddr,
    /// When the order was made.
    pub time_start: Timestamp,
    /// When the number expires.
    pub time_expire: Timestamp,
    /// Where WeChat posts the notification: absolute, no query.
    pub notify_url: String,
    /// How the payer pays, with the parameter that this needs.
    pub trade: Trade,
    /// Returned in notifications, queries and bills.
    pub attach: Option<String>,
    /// A terminal or shop; `WEB` for pages.
    pub device_info: Option<String>,
}

/// A trade type with the parameter that WeChat requires for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trade {
    /// In a page inside WeChat or a mini program.
    Jsapi {
        /// The payer's openid in the order's app.
        openid: OpenId,
    },
    /// By scanning a QR code.
    Native {
        /// The merchant's product number.
        product_id: String,
    },
    /// In the shop's mobile app.
    App,
    /// In a browser outside WeChat.
    Mweb {
        /// JSON that describes the shop's site or app (`h5_info`).
        scene_info: String,
    },
}

impl Trade {
    /// Its type.
    pub const fn trade_type(&self) -> TradeType {
        match self {
            Trade::Jsapi { .. } => TradeType::Jsapi,
            Trade::Native { .. } => TradeType::Native,
            Trade::App => TradeType::App,
            Trade::Mweb { .. } => TradeType::Mweb,
        }
    }
}

/// The result of a unified order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// The payer can pay.
    Issued(Prepay),
    /// Refused permanently, with WeChat's error.
    Refused(WechatError),
    /// Not executed, because of the merchant's setup: the same number once that is corrected.
    Setup(WechatError),
    /// WeChat knows the number already: query it first. `ORDERPAID` says paid; `OUT_TRADE_NO_USED` and
    /// `INVALID_REQUEST` say used, or (where the query finds nothing) refused.
    Ask(WechatError),
    /// The number can no longer be used: a new attempt is needed.
    Closed(WechatError),
    /// It may exist or not: the same parameters again, then query.
    Unknown {
        /// What was seen.
        why: String,
        /// What WeChat answered; none where no answer arrived.
        said: Option<WechatError>,
    },
}

/// The result of one call, and whether an earlier one is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The result from the host that answered.
    pub placed: Placed,
    /// A host may have executed the same call before without answering: then a refusal proves nothing about the number.
    pub earlier_may_have_executed: bool,
    /// The call reached WeChat, or may have: what has no conclusive answer may have been executed.
    pub sent: bool,
}

/// Every rule of WeChat that the order's free texts break; if none, the order may be sent.
pub fn problems(order: &UnifiedOrder) -> Vec<IdError> {
    let mut found = Vec::new();
    let mut check = |what: &'static str, text: &str, max: usize, rule: &'static str| {
        // No control characters at all: XML parsers rewrite line ends, and the signature would become invalid.
        let plain = text.chars().all(|c| xml::is_xml_char(c) && !c.is_control());
        if text.is_empty() || text.len() > max || !plain {
            found.push(IdError { what, rule });
        }
    };
    check("body", &order.body, TEXT_MAX_BYTES, "1 to 127 bytes of text without control characters");
    check("notify_url", &order.notify_url, LONG_MAX_BYTES, "an address of at most 256 bytes");
    if let Some(attach) = &order.attach {
        check("attach", attach, TEXT_MAX_BYTES, "1 to 127 bytes of text without control characters");
    }
    if let Some(device_info) = &order.device_info {
        check("device_info", device_info, SHORT_MAX_BYTES, "1 to 32 bytes of text without control characters");
    }
    match &order.trade {
        Trade::Jsapi { .. } | Trade::App => {}
        Trade::Native { product_id } => {
            check("product_id", product_id, SHORT_MAX_BYTES, "1 to 32 bytes of text without control characters")
        }
        Trade::Mweb { scene_info } => {
            check("scene_info", scene_info, LONG_MAX_BYTES, "1 to 256 bytes of JSON without line breaks")
        }
    }
    found
}

/// Every parameter that is signed, except `nonce_str` and `sign`: to be stored before the first call.
pub fn params(order: &UnifiedOrder) -> Fields {
    let mut fields = Fields::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            fields.insert(name.to_owned(), value.to_owned());
        }
    };
    put("appid", order.appid.as_str());
    put("mch_id", order.mch_id.as_str());
    put("sign_type", order.sign_type.as_str());
    put("device_info", order.device_info.as_deref().unwrap_or_default());
    put("body", &order.body);
    put("attach", order.attach.as_deref().unwrap_or_default());
    put("out_trade_no", order.out_trade_no.as_str());
    put("total_fee", &order.total_fee.to_string());
    put("spbill_create_ip", &order.spbill_create_ip.to_canonical().to_string());
    put("time_start", &order.time_start.to_beijing());
    put("time_expire", &order.time_expire.to_beijing());
    put("notify_url", &order.notify_url);
    put("trade_type", order.trade.trade_type().as_str());
    match &order.trade {
        Trade::Jsapi { openid } => put("openid", openid.as_str()),
        Trade::Native { product_id } => put("product_id", product_id),
        Trade::App => {}
        Trade::Mweb { scene_info } => put("scene_info", scene_info),
    }
    fields
}

/// The body to send for these parameters.
pub fn write_request(params: &Fields, key: &V2Key, nonce: String) -> String {
    request::write(params, key, nonce)
}

/// Reads the reply to a call with these parameters; `now` becomes the handle's time of issue.
pub fn parse_reply(params: &Fields, key: &V2Key, body: &[u8], now: Timestamp) -> Placed {
    let (mch_id, appid) = (text(params, "mch_id"), text(params, "appid"));
    placed(params, reply::parse(Expected { api: Api::UnifiedOrder, key, mch_id, appid }, body), now)
}

/// Places the order: one call, on two hosts if necessary.
pub async fn place(client: &Client, key: &V2Key, params: &Fields, now: Timestamp) -> Answer {
    let body = write_request(params, key, request::nonce());
    match client.post_xml(Api::UnifiedOrder.path(), body).await {
        Ok(reply) => Answer {
            placed: parse_reply(params, key, &reply.body, now),
            earlier_may_have_executed: reply.earlier_may_have_executed,
            sent: true,
        },
        Err(error) => Answer {
            placed: placed(params, reply::failed(Api::UnifiedOrder, &error), now),
            earlier_may_have_executed: error.may_have_executed(),
            sent: error.may_have_executed(),
        },
    }
}

fn placed(params: &Fields, outcome: Outcome, now: Timestamp) -> Placed {
    match outcome {
        Outcome::Done(fields) => issued(params, &fields, now),
        Outcome::Refused(error) => Placed::Refused(error),
        Outcome::Setup(error) => Placed::Setup(error),
        Outcome::Ask(error) => Placed::Ask(error),
        Outcome::Closed(error) => Placed::Closed(error),
        Outcome::Doubt(error) | Outcome::NotFound(error) | Outcome::Later(error) | Outcome::TooFrequent(error) => {
            Placed::Unknown { why: reply::line(&error), said: Some(error) }
        }
        Outcome::Unknown { why, said } => Placed::Unknown { why, said },
    }
}

fn issued(params: &Fields, fields: &Fields, now: Timestamp) -> Placed {
    let of = |name: &str| Some(text(fields, name)).filter(|value| !value.is_empty()).map(str::to_owned);
    let lacks = |name: &str| {
        let why = format!("the reply lacks {name}");
        Placed::Unknown { said: Some(reply::misfit(&why)), why }
    };
    let (code_url, mweb_url) = (of("code_url"), of("mweb_url"));
    match TradeType::parse(text(params, "trade_type")) {
        Some(TradeType::Native) if code_url.is_none() => return lacks("code_url"),
        Some(TradeType::Mweb) if mweb_url.is_none() => return lacks("mweb_url"),
        Some(TradeType::Jsapi | TradeType::App | TradeType::Native | TradeType::Mweb) | None => {}
    }
    match of("prepay_id") {
        Some(prepay_id) => Placed::Issued(Prepay { prepay_id, code_url, mweb_url, issued_at: now }),
        None => lacks("prepay_id"),
    }
}

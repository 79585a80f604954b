//! `/pay/unifiedorder`: the merchant places an order, or the same order again.

use std::net::IpAddr;

use axum::http::Uri;

use super::answer::{Refusal, Reply, with};
use super::check::{Message, lengths, malformed, optional, required};
use crate::clock::Timestamp;
use crate::ids::{AppId, OpenId, OutTradeNo};
use crate::money::Fen;
use crate::sandbox::ledger::record::Terms;
use crate::sandbox::state::SandboxState;
use crate::trade::TradeType;
use crate::wechat::v2::xml::Fields;

/// In bytes; see [`lengths`].
const LIMITS: &[(&str, usize)] = &[
    ("device_info", 32),
    ("body", 128),
    ("detail", 6000),
    ("attach", 127),
    ("out_trade_no", 32),
    ("fee_type", 16),
    ("spbill_create_ip", 64),
    ("time_start", 14),
    ("time_expire", 14),
    ("goods_tag", 32),
    ("notify_url", 256),
    ("trade_type", 16),
    ("product_id", 32),
    ("limit_pay", 32),
    ("openid", 128),
    ("receipt", 8),
    ("profit_sharing", 1),
    ("scene_info", 256),
];

/// Executes the call. `base` is where the caller reached us, for `mweb_url`.
pub(super) fn execute(sandbox: &SandboxState, message: &Message<'_>, parameters_sha256: &str, base: &str) -> Reply {
    let terms = terms(message, parameters_sha256)?;
    if let Some(openid) = &terms.openid {
        known_payer(sandbox, openid, &terms.appid)?;
    }
    let trade_type = terms.trade_type;
    let prepay = sandbox.book().place(terms, sandbox.now())?;
    let mut reply = with(Fields::new(), &[("prepay_id", &prepay.prepay_id), ("trade_type", trade_type.as_str())]);
    match trade_type {
        TradeType::Native => {
            reply.insert("code_url".to_owned(), prepay.code_url.unwrap_or_default());
        }
        TradeType::Mweb => {
            // `package` marks the link, which lives for five minutes where the session lives for two hours.
            let package = prepay.issued_at.as_seconds();
            let url = format!("{base}/_sandbox/cashier?prepay_id={}&package={package}", prepay.prepay_id);
            reply.insert("mweb_url".to_owned(), url);
        }
        TradeType::Jsapi | TradeType::App => {}
    }
    if let Some(device_info) = optional(&message.fields, "device_info") {
        reply.insert("device_info".to_owned(), device_info.to_owned());
    }
    Ok(reply)
}

fn terms(message: &Message<'_>, parameters_sha256: &str) -> Result<Terms, Refusal> {
    let fields = &message.fields;
    for name in ["body", "out_trade_no", "total_fee", "spbill_create_ip", "notify_url", "trade_type"] {
        required(fields, name)?;
    }
    lengths(fields, LIMITS)?;
    let out_trade_no = OutTradeNo::parse(required(fields, "out_trade_no")?).map_err(|_| malformed("out_trade_no"))?;
    let total_fee = Fen::parse_field(required(fields, "total_fee")?)
        .and_then(|fee| Fen::order_amount(fee.as_i64()))
        .map_err(|_| malformed("total_fee"))?;
    required(fields, "spbill_create_ip")?.parse::<IpAddr>().map_err(|_| malformed("spbill_create_ip"))?;
    let notify_url = notify_url(required(fields, "notify_url")?)?;
    let trade_type =
        TradeType::parse(required(fields, "trade_type")?).ok_or_else(|| param_error("trade_type参数错误"))?;
    if optional(fields, "fee_type").is_some_and(|currency| currency != "CNY") {
        return Err(param_error("fee_type参数错误，仅支持CNY"));
    }
    let time_start = time(fields, "time_start")?;
    let time_expire = time(fields, "time_expire")?;
    if let (Some(start), Some(expire)) = (time_start, time_expire)
        && expire <= start
    {
        return Err(param_error("time_expire须晚于time_start"));
    }
    Ok(Terms {
        mch_id: message.account.mch_id.clone(),
        appid: message.appid.clone(),
        out_trade_no,
        trade_type,
        total_fee,
        body: required(fields, "body")?.to_owned(),
        attach: optional(fields, "attach").unwrap_or_default().to_owned(),
        device_info: optional(fields, "device_info").unwrap_or_default().to_owned(),
        notify_url,
        openid: payer(fields, trade_type)?,
        time_expire,
        sign_type: message.sign_type,
        parameters_sha256: parameters_sha256.to_owned(),
        is_test: message.is_test,
    })
}

/// WeChat knows its openids. Of those that this simulator did not give out, the form decides: `o` and 27 characters.
fn known_payer(sandbox: &SandboxState, openid: &OpenId, appid: &AppId) -> Result<(), Refusal> {
    let text = openid.as_str();
    let is_formed = text.len() == 28
        && text.starts_with('o')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if !is_formed {
        return Err(param_error("无效的openid"));
    }
    let platform = sandbox.platform();
    let has = |appid: &str| platform.people.all().any(|(number, _)| platform.people.openid(number, appid) == text);
    let elsewhere = platform.apps.keys().any(|other| other != appid.as_str() && has(other));
    if elsewhere && !has(appid.as_str()) {
        return Err(param_error("appid和openid不匹配"));
    }
    Ok(())
}

/// What each trade type wants; tells the payer where the order names one.
fn payer(fields: &Fields, trade_type: TradeType) -> Result<Option<OpenId>, Refusal> {
    let openid =
        optional(fields, "openid").map(|text| OpenId::parse(text).map_err(|_| malformed("openid"))).transpose()?;
    match trade_type {
        TradeType::Jsapi => {
            required(fields, "openid")?;
            return Ok(openid);
        }
        TradeType::Native => {
            required(fields, "product_id")?;
        }
        TradeType::Mweb => h5_scene(required(fields, "scene_info")?)?,
        TradeType::App => {}
    }
    // Only JSAPI binds the order to a payer; elsewhere WeChat ignores the element.
    Ok(None)
}

fn h5_scene(scene_info: &str) -> Result<(), Refusal> {
    let scene: serde_json::Value = serde_json::from_str(scene_info).map_err(|_| malformed("scene_info"))?;
    match scene.get("h5_info").and_then(|h5| h5.get("type")).and_then(|kind| kind.as_str()) {
        Some("Wap" | "IOS" | "Android") => Ok(()),
        Some(_) | None => Err(param_error("scene_info参数错误：h5_info.type")),
    }
}

/// Absolute, http or https, no query string, fragment or blank: WeChat posts to exactly this address.
pub(super) fn notify_url(text: &str) -> Result<String, Refusal> {
    let bad = || malformed("notify_url");
    if text.contains('#') {
        return Err(bad());
    }
    let url: Uri = text.parse().map_err(|_| bad())?;
    let web = matches!(url.scheme_str(), Some("http" | "https"));
    let host = url.authority().is_some_and(|a| !a.host().is_empty() && !a.as_str().contains('@'));
    if !web || !host {
        return Err(bad());
    }
    if url.query().is_some() {
        return Err(param_error("notify_url不能携带参数"));
    }
    Ok(text.to_owned())
}

fn time(fields: &Fields, name: &str) -> Result<Option<Timestamp>, Refusal> {
    optional(fields, name).map(|text| Timestamp::parse_beijing(text).map_err(|_| malformed(name))).transpose()
}

/// `PARAM_ERROR` in these words.
pub(super) fn param_error(des: &str) -> Refusal {
    Refusal::Business("PARAM_ERROR", des.to_owned())
}

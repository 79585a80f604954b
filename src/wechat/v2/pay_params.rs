//! The parameters for the payer's client. Signed anew each time, with the algorithm of the order itself: WeChat refuses
//! parameters signed with the other one.
//!
//! The three clients spell the same things differently. The bridge inside WeChat and mini programs sign and read
//! `timeStamp`; `wx.chooseWXPay` reads `timestamp` but the signature still covers `timeStamp`, so both are in the
//! answer. The mobile SDK has everything in lower case and no field for the algorithm. Every value is a string: iOS
//! ignores a numeric time and then fails.

use serde_json::{Map, Value};

use super::sign;
use super::xml::Fields;
use crate::clock::Timestamp;
use crate::event::fact::Prepay;
use crate::ids::{AppId, MchId};
use crate::secret::V2Key;
use crate::trade::{SignType, TradeType};
use crate::wechat::percent;

/// The prepay handle lacks the address that its trade type needs. [`super::unified_order`] never issues such a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the prepay handle has no {field}")]
pub struct NoAddress {
    /// `code_url` or `mweb_url`.
    pub field: &'static str,
}

/// The parameters for one client. `nonce` is up to 32 random letters and digits.
#[allow(clippy::too_many_arguments)] // Each is signed or decides what is; a struct would only rename them.
pub fn for_client(
    trade_type: TradeType,
    appid: &AppId,
    mch_id: &MchId,
    prepay: &Prepay,
    key: &V2Key,
    sign_type: SignType,
    now: Timestamp,
    nonce: String,
) -> Result<Map<String, Value>, NoAddress> {
    let time = now.as_seconds().to_string();
    match trade_type {
        TradeType::Jsapi => Ok(jsapi(appid, prepay, key, sign_type, time, nonce)),
        TradeType::App => Ok(app(appid, mch_id, prepay, key, sign_type, time, nonce)),
        TradeType::Native => address("code_url", prepay.code_url.as_ref()),
        TradeType::Mweb => address("mweb_url", prepay.mweb_url.as_ref()),
    }
}

/// The address for a browser that returns to `redirect_url` after the payment. The address WeChat gave stays as it
/// is, because it is checked as a whole; only the encoded parameter is appended.
pub fn mweb_redirect(mweb_url: &str, redirect_url: &str) -> String {
    let mut url = format!("{mweb_url}&redirect_url=");
    percent::push(&mut url, redirect_url);
    url
}

fn jsapi(
    appid: &AppId,
    prepay: &Prepay,
    key: &V2Key,
    sign_type: SignType,
    time: String,
    nonce: String,
) -> Map<String, Value> {
    let signed = fields([
        ("appId", appid.as_str().to_owned()),
        ("timeStamp", time.clone()),
        ("nonceStr", nonce),
        ("package", format!("prepay_id={}", prepay.prepay_id)),
        ("signType", sign_type.as_str().to_owned()),
    ]);
    let signature = sign::sign(&signed, key, sign_type);
    let mut params = json(signed);
    params.insert("paySign".into(), signature.into());
    params.insert("timestamp".into(), time.into());
    params
}

fn app(
    appid: &AppId,
    mch_id: &MchId,
    prepay: &Prepay,
    key: &V2Key,
    sign_type: SignType,
    time: String,
    nonce: String,
) -> Map<String, Value> {
    let signed = fields([
        ("appid", appid.as_str().to_owned()),
        ("partnerid", mch_id.as_str().to_owned()),
        ("prepayid", prepay.prepay_id.clone()),
        ("package", "Sign=WXPay".to_owned()),
        ("noncestr", nonce),
        ("timestamp", time),
    ]);
    json(sign::seal(signed, key, sign_type))
}

fn address(field: &'static str, url: Option<&String>) -> Result<Map<String, Value>, NoAddress> {
    let url = url.ok_or(NoAddress { field })?;
    Ok(Map::from_iter([(field.to_owned(), Value::from(url.as_str()))]))
}

fn fields<const N: usize>(pairs: [(&str, String); N]) -> Fields {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn json(fields: Fields) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name, Value::from(value))).collect()
}

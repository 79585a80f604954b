//! What `wx.config` is checked for: the app, the page's host, the signature against every live ticket of the app.

use serde::Deserialize;
use serde_json::Value;
use sha1::{Digest, Sha1};

use super::state::Grant;
use crate::clock::Timestamp;
use crate::sandbox::platform::Platform;
use crate::sandbox::platform::oauth::site::admitted;
use crate::sandbox::settings::PlatformKind;
use crate::secret::hex_lower;

/// What the page hands over, as it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::sandbox) struct Config {
    /// Its address without the fragment.
    pub url: String,
    app_id: Option<String>,
    timestamp: Option<Value>,
    nonce_str: Option<String>,
    signature: Option<String>,
    js_api_list: Option<Vec<String>>,
}

/// What the page may do now, or WeChat's words for why not.
pub(in crate::sandbox) fn check(
    platform: &Platform,
    config: Config,
    person: usize,
    now: Timestamp,
) -> Result<Grant, &'static str> {
    let app = config.app_id.as_deref().and_then(|appid| platform.apps.get(appid));
    let Some(app) = app.filter(|app| app.settings.kind == PlatformKind::OfficialAccount) else {
        return Err("config:fail, invalid appid");
    };
    if !admitted(&config.url, &app.settings.js_domains) {
        return Err("config:invalid url domain");
    }
    if platform.people.get(person).is_some_and(|person| person.snapshot) {
        return Err("config:permission denied");
    }
    let (Some(timestamp), Some(noncestr), Some(given)) =
        (config.timestamp.as_ref().and_then(seconds), &config.nonce_str, &config.signature)
    else {
        return Err("config:invalid signature");
    };
    let Some(apis) = config.js_api_list.filter(|list| !list.is_empty()) else {
        return Err("config:fail, jsApiList is empty");
    };
    let appid = app.settings.appid.as_str();
    let holds = platform.token_store.live_tickets(appid, now).any(|ticket| {
        let text = format!("jsapi_ticket={ticket}&noncestr={noncestr}&timestamp={timestamp}&url={}", config.url);
        hex_lower(Sha1::digest(text.as_bytes()).as_slice()) == *given
    });
    if holds { Ok(Grant { appid: appid.to_owned(), apis }) } else { Err("config:invalid signature") }
}

/// A whole number, as one or as a text of digits.
pub(in crate::sandbox) fn seconds(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        Value::String(text) => text.bytes().all(|b| b.is_ascii_digit()).then(|| text.clone()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
    .filter(|text| !text.is_empty())
}

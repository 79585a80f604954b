//! Mini programs: the code of a login for an openid, the code of the phone-number button for a number.
//!
//! The two codes are different things, each good for one call within five minutes. The `session_key` that a login gives
//! never leaves this file: it decrypts what the client sends, which nothing here needs, so it is not even kept.

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::oauth::{openid, unionid};
use super::platform::{Credential, PlatformClient, PlatformError, text_if_any, with_a_code};
use crate::ids::{AppId, OpenId};
use crate::secret::Secret;

/// Who logged in.
#[derive(Clone, PartialEq, Eq)]
pub struct MiniSession {
    /// The user's openid in the mini program.
    pub openid: OpenId,
    /// The user's id in the company's open platform account, if there is one.
    pub unionid: Option<String>,
}

impl fmt::Debug for MiniSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiniSession").field("openid", &self.openid).finish_non_exhaustive()
    }
}

/// A user's phone number.
#[derive(Clone, PartialEq, Eq)]
pub struct Phone {
    /// In dialling format: with `+` and the country for numbers from elsewhere.
    pub phone_number: String,
    /// Without the country.
    pub pure_phone_number: String,
    /// The country in digits: `86`.
    pub country_code: String,
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phone").field("country_code", &self.country_code).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct SessionAnswer {
    openid: String,
    #[serde(default, deserialize_with = "text_if_any")]
    unionid: Option<String>,
    // Present in every success: an answer without it is not one.
    #[serde(rename = "session_key")]
    _session_key: IgnoredAny,
}

#[derive(Deserialize)]
struct PhoneAnswer {
    phone_info: PhoneInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PhoneInfo {
    phone_number: String,
    pure_phone_number: String,
    country_code: Value,
    watermark: Watermark,
}

#[derive(Deserialize)]
struct Watermark {
    appid: String,
}

/// Exchanges the code of `wx.login`. If WeChat is busy or not reached, the call is repeated once; if it is busy
/// again, the refusal says that the login is over and the client needs a new code.
pub async fn code2session(
    client: &PlatformClient,
    appid: &AppId,
    secret: &Secret,
    js_code: &str,
) -> Result<MiniSession, PlatformError> {
    let query = [
        ("appid", appid.as_str()),
        ("secret", secret.expose()),
        ("js_code", js_code),
        ("grant_type", "authorization_code"),
    ];
    let answer: SessionAnswer = with_a_code(|| client.get("/sns/jscode2session", &query, Credential::Secret)).await?;
    Ok(MiniSession { openid: openid(answer.openid)?, unionid: unionid(answer.unionid) })
}

/// Exchanges the code of the phone-number button, repeated like [`code2session`]. A number that was issued for
/// another app is refused.
pub async fn phone_number(
    client: &PlatformClient,
    access_token: &Secret,
    appid: &AppId,
    code: &str,
) -> Result<Phone, PlatformError> {
    let query = [("access_token", access_token.expose())];
    let body = json!({ "code": code });
    let path = "/wxa/business/getuserphonenumber";
    let answer: PhoneAnswer = with_a_code(|| client.post_json(path, &query, &body, Credential::GlobalToken)).await?;
    let info = answer.phone_info;
    if info.watermark.appid != appid.as_str() {
        return Err(PlatformError::Unreadable("the phone number is for another app"));
    }
    Ok(Phone {
        country_code: country_code(&info.country_code)?,
        phone_number: dialled(info.phone_number)?,
        pure_phone_number: dialled(info.pure_phone_number)?,
    })
}

/// Documented as a text, also sent as a number.
fn country_code(code: &Value) -> Result<String, PlatformError> {
    let text = match code {
        Value::Number(code) => code.to_string(),
        Value::String(code) => code.trim_start_matches('+').to_owned(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    };
    dialled(text).map_err(|_| PlatformError::Unreadable("countryCode is none"))
}

/// Digits and separators; the formats of countries are not checked.
fn dialled(number: String) -> Result<String, PlatformError> {
    let written = number.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b' '));
    if written && number.len() <= 32 && number.bytes().any(|byte| byte.is_ascii_digit()) {
        Ok(number)
    } else {
        Err(PlatformError::Unreadable("a phone number that is none"))
    }
}

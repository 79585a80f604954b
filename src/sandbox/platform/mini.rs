//! The calls of a mini program: `/sns/jscode2session`, `/wxa/business/getuserphonenumber`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Platform;
use super::answer::{Reply, refused};
use super::api::Api;
use super::oauth::codes::{CODE_LIFE_S, Purpose, Spoiled, Taking};
use super::oauth::people::unionid;
use super::request::{Request, text};
use super::tokens::authenticate;
use crate::clock::Timestamp;
use crate::sandbox::settings::PlatformKind;
use crate::secret::random_text;

/// `GET /sns/jscode2session`
pub(in crate::sandbox) fn jscode2session(platform: &mut Platform, request: &Request, now: Timestamp) -> Reply {
    let appid = authenticate(platform, request, PlatformKind::MiniProgram)?;
    let code = request.required("js_code", 41008)?;
    if request.param("grant_type") != Some("authorization_code") {
        return Err(refused(40002));
    }
    platform.count(Api::Jscode2Session, appid, now)?;
    let life = platform.scaled(CODE_LIFE_S);
    // Too fast is said before the code is used up: it works again in the next minute.
    if let Some(person) = platform.codes.find(code, Taking::Mini, appid).map(|code| code.person) {
        platform.login_rate.count(appid, person, now)?;
    }
    let code = platform.codes.take(code, Taking::Mini, appid, now, life).map_err(|spoiled| {
        refused(match spoiled {
            Spoiled::Unknown | Spoiled::Expired => 40029,
            Spoiled::Used => 40163,
        })
    })?;
    if platform.people.get(code.person).is_some_and(|person| person.risky) {
        return Err(refused(40226));
    }
    Ok(json!({
        "openid": platform.people.openid(code.person, appid), "unionid": unionid(code.person),
        "session_key": STANDARD.encode(random_text(16)),
    }))
}

/// `POST /wxa/business/getuserphonenumber`
pub(in crate::sandbox) fn getuserphonenumber(platform: &mut Platform, request: &Request, now: Timestamp) -> Reply {
    let (appid, kind) = platform.bearer(request.param("access_token"), now)?;
    match kind {
        PlatformKind::MiniProgram => {}
        PlatformKind::OfficialAccount => return Err(refused(40013)),
    }
    let body = request.json()?;
    let code = text(&body, "code", 41008)?;
    platform.count(Api::GetUserPhoneNumber, &appid, now)?;
    let known = platform.codes.find(code, Taking::Phone, &appid).map(|code| code.person);
    if let (Some(person), Some(Value::String(openid))) = (known, body.get("openid"))
        && platform.people.openid(person, &appid) != *openid
    {
        return Err(refused(40003));
    }
    let life = platform.scaled(CODE_LIFE_S);
    // WeChat has one number for used up, too old, another app's and never issued.
    let code = platform.codes.take(code, Taking::Phone, &appid, now, life).map_err(|_| refused(40029))?;
    let Purpose::Phone { number, country_code } = code.purpose else { return Err(refused(40029)) };
    // Documented as a text, seen as a number: mainland numbers come as the one, all others as the other.
    let (phone, country) = match country_code.as_str() {
        "86" => (number.clone(), json!(86)),
        _ => (format!("+{country_code}{number}"), json!(country_code)),
    };
    Ok(json!({
        "errcode": 0, "errmsg": "ok",
        "phone_info": {
            "phoneNumber": phone, "purePhoneNumber": number, "countryCode": country,
            "watermark": {"timestamp": now.as_seconds(), "appid": appid},
        },
    }))
}

//! The calls after an OAuth page: `/sns/oauth2/access_token`, `/sns/oauth2/refresh_token`, `/sns/userinfo`,
//! `/sns/auth`.

use serde_json::{Value, json};

use super::codes::{CODE_LIFE_S, Purpose, Scope, Spoiled, Taking};
use super::logins::{Granted, Login, NoLogin};
use super::people::{unionid, virtual_openid};
use crate::clock::Timestamp;
use crate::sandbox::platform::Platform;
use crate::sandbox::platform::answer::{Refusal, Reply, refused};
use crate::sandbox::platform::api::Api;
use crate::sandbox::platform::request::Request;
use crate::sandbox::platform::token_store::token_shaped;
use crate::sandbox::platform::tokens::authenticate;
use crate::sandbox::settings::PlatformKind;

const REFRESH_LIFE_S: u64 = 30 * 24 * 3600;

/// `GET /sns/oauth2/access_token`
pub(in crate::sandbox) fn access_token(platform: &mut Platform, request: &Request, now: Timestamp) -> Reply {
    let appid = authenticate(platform, request, PlatformKind::OfficialAccount)?;
    let text = request.required("code", 41008)?;
    if request.param("grant_type") != Some("authorization_code") {
        return Err(refused(40002));
    }
    platform.count(Api::OauthAccessToken, appid, now)?;
    let life = platform.scaled(CODE_LIFE_S);
    let code = platform.codes.take(text, Taking::Page, appid, now, life).map_err(|spoiled| {
        refused(match spoiled {
            Spoiled::Unknown => 40029,
            Spoiled::Used => 40163,
            Spoiled::Expired => 42003,
        })
    })?;
    let Purpose::Page { scope, snapshot } = code.purpose else { return Err(refused(40029)) };
    let openid = match snapshot {
        true => virtual_openid(code.person, appid),
        false => platform.people.openid(code.person, appid),
    };
    let login = Login { appid: code.appid, person: code.person, openid, scope, snapshot };
    let granted = platform.logins.grant(login, platform.scaled(REFRESH_LIFE_S), now);
    let mut answer = tokens(&granted);
    if scope == Scope::Userinfo {
        answer["unionid"] = json!(unionid(granted.login.person));
    }
    if snapshot {
        // Absent, not 0, for all others.
        answer["is_snapshotuser"] = json!(1);
    }
    Ok(answer)
}

/// `GET /sns/oauth2/refresh_token`
pub(in crate::sandbox) fn refresh_token(platform: &mut Platform, request: &Request, now: Timestamp) -> Reply {
    let appid = request.required("appid", 41002)?;
    platform.app(appid)?;
    if request.param("grant_type") != Some("refresh_token") {
        return Err(refused(40002));
    }
    let refresh_token = request.required("refresh_token", 41003)?;
    let granted = platform.logins.refresh(refresh_token, appid, now).map_err(|why| {
        refused(match why {
            NoLogin::Unknown => 40030,
            NoLogin::Expired => 42002,
        })
    })?;
    Ok(tokens(&granted))
}

/// `GET /sns/userinfo`
pub(in crate::sandbox) fn userinfo(platform: &mut Platform, request: &Request, now: Timestamp) -> Reply {
    let login = login(platform, request, now)?;
    if login.scope != Scope::Userinfo || login.snapshot {
        return Err(refused(48001));
    }
    let nickname = platform.people.get(login.person).map(|person| person.nickname.clone()).unwrap_or_default();
    // WeChat has not disclosed sex and places for years; the fields are still there.
    Ok(json!({
        "openid": login.openid, "nickname": nickname, "sex": 0, "language": "", "city": "", "province": "",
        "country": "", "headimgurl": format!("{}/_sandbox/platform/avatar/{}", request.base, login.person),
        "privilege": [], "unionid": unionid(login.person),
    }))
}

/// `GET /sns/auth`
pub(in crate::sandbox) fn auth(platform: &mut Platform, request: &Request, now: Timestamp) -> Reply {
    login(platform, request, now)?;
    Ok(json!({"errcode": 0, "errmsg": "ok"}))
}

fn login(platform: &Platform, request: &Request, now: Timestamp) -> Result<Login, Refusal> {
    let token = request.required("access_token", 41001)?;
    let openid = request.required("openid", 41009)?;
    if !token_shaped(token) {
        return Err(refused(40014));
    }
    let login = platform.logins.check(token, now).map_err(|why| {
        refused(match why {
            NoLogin::Unknown => 40001,
            NoLogin::Expired => 42001,
        })
    })?;
    if login.openid == openid { Ok(login.clone()) } else { Err(refused(40003)) }
}

fn tokens(granted: &Granted) -> Value {
    json!({
        "access_token": granted.access_token, "expires_in": granted.expires_in_s,
        "refresh_token": granted.refresh_token, "openid": granted.login.openid,
        "scope": granted.login.scope.as_str(),
    })
}

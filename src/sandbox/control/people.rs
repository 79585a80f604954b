//! `/_sandbox/platform/user`, `mini_code`, `phone_code`, `avatar`: what the person at the browser or phone does.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::wire::{Answer, Problem, Read};
use crate::ids::OpenId;
use crate::sandbox::platform::Platform;
use crate::sandbox::platform::oauth::codes::{Code, Purpose};
use crate::sandbox::platform::oauth::people::COOKIE;
use crate::sandbox::settings::PlatformKind;
use crate::sandbox::state::SandboxState;

pub(in crate::sandbox) fn router() -> Router<Arc<SandboxState>> {
    Router::new()
        .route("/_sandbox/platform/user", post(user))
        .route("/_sandbox/platform/users", get(users))
        .route("/_sandbox/platform/mini_code", post(mini_code))
        .route("/_sandbox/platform/phone_code", post(phone_code))
        .route("/_sandbox/platform/avatar/{number}", get(avatar))
}

fn not_found(what: &str) -> Problem {
    Problem::not_found(format!("no such {what}"))
}

/// Who sits at every browser without a cookie that says otherwise. Without `user` and `openid`: the first one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    /// The number of one of the test users.
    user: Option<usize>,
    /// A person who has this openid under every app.
    openid: Option<OpenId>,
    nickname: Option<String>,
    #[serde(default)]
    snapshot: bool,
    #[serde(default)]
    risky: bool,
}

async fn user(
    State(sandbox): State<Arc<SandboxState>>,
    Read(User { user, openid, nickname, snapshot, risky }): Read<User>,
) -> Answer {
    let mut platform = sandbox.platform();
    let number = match (user, &openid) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("give user or openid, not both")),
        (None, Some(openid)) => platform.people.with_openid(openid),
        (number, None) => number.unwrap_or(0),
    };
    let person = platform.people.get_mut(number).ok_or_else(|| not_found("user"))?;
    (person.snapshot, person.risky) = (snapshot, risky);
    if let Some(nickname) = nickname {
        person.nickname = nickname;
    }
    platform.people.seat(number);
    Ok(Json(shown(&platform, number)))
}

async fn users(State(sandbox): State<Arc<SandboxState>>) -> Json<Value> {
    let platform = sandbox.platform();
    let users: Vec<Value> = platform.people.all().map(|(number, _)| shown(&platform, number)).collect();
    let current = platform.people.at_browser(None);
    Json(json!({"users": users, "current": current}))
}

fn shown(platform: &Platform, number: usize) -> Value {
    let openids: serde_json::Map<String, Value> =
        platform.apps.keys().map(|appid| (appid.clone(), json!(platform.people.openid(number, appid)))).collect();
    let person = platform.people.get(number);
    json!({
        "user": number, "nickname": person.map(|p| &p.nickname), "snapshot": person.map(|p| p.snapshot),
        "risky": person.map(|p| p.risky), "openids": openids, "cookie": format!("{COOKIE}={number}"),
    })
}

/// Whose code, and under which mini program: the only one when it is left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MiniCode {
    appid: Option<String>,
    openid: Option<OpenId>,
}

/// `wx.login` on a person's phone.
async fn mini_code(
    State(sandbox): State<Arc<SandboxState>>,
    Read(MiniCode { appid, openid }): Read<MiniCode>,
) -> Answer {
    issue(&sandbox, appid, openid.as_ref(), Purpose::Mini)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhoneCode {
    appid: Option<String>,
    openid: Option<OpenId>,
    /// Without the country code.
    #[serde(default = "mainland_number")]
    phone: String,
    #[serde(default = "mainland")]
    country_code: String,
}

fn mainland_number() -> String {
    "13800000000".to_owned()
}

fn mainland() -> String {
    "86".to_owned()
}

/// A person pressed the phone-number button.
async fn phone_code(
    State(sandbox): State<Arc<SandboxState>>,
    Read(PhoneCode { appid, openid, phone, country_code }): Read<PhoneCode>,
) -> Answer {
    issue(&sandbox, appid, openid.as_ref(), Purpose::Phone { number: phone, country_code })
}

fn issue(sandbox: &SandboxState, appid: Option<String>, openid: Option<&OpenId>, purpose: Purpose) -> Answer {
    let mut platform = sandbox.platform();
    let mut minis = platform.apps.iter().filter(|(_, app)| app.settings.kind == PlatformKind::MiniProgram);
    let appid = match appid {
        Some(appid) => minis.find(|(known, _)| **known == appid).map(|_| appid).ok_or_else(|| not_found("app"))?,
        None => {
            let only = minis.next().ok_or_else(|| not_found("app"))?.0.clone();
            if minis.next().is_some() {
                return Err(Problem::bad_request("appid is needed: there are several mini programs"));
            }
            only
        }
    };
    let person = match openid {
        Some(openid) => {
            let named = openid.as_str();
            let test_user =
                platform.people.all().map(|(number, _)| number).find(|n| platform.people.openid(*n, &appid) == named);
            test_user.unwrap_or_else(|| platform.people.with_openid(openid))
        }
        None => platform.people.at_browser(None),
    };
    let openid = platform.people.openid(person, &appid);
    let code = platform.codes.issue(Code { appid: appid.clone(), person, purpose }, sandbox.now());
    Ok(Json(json!({"code": code, "appid": appid, "openid": openid})))
}

/// A picture in a colour of one's own.
async fn avatar(State(sandbox): State<Arc<SandboxState>>, Path(number): Path<usize>) -> Response {
    if sandbox.platform().people.get(number).is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let hue = number * 97 % 360;
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 132 132\">\
         <rect width=\"132\" height=\"132\" fill=\"hsl({hue},45%,45%)\"/>\
         <circle cx=\"66\" cy=\"52\" r=\"24\" fill=\"#fff\"/>\
         <path d=\"M18 132a48 44 0 0 1 96 0z\" fill=\"#fff\"/></svg>"
    );
    ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "no-store")], svg).into_response()
}

//! `/cgi-bin/token`, `/cgi-bin/stable_token`, `/cgi-bin/ticket/getticket`, `/cgi-bin/clear_quota`.

use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::Platform;
use super::answer::{Refusal, Reply, refused};
use super::api::Api;
use super::request::{Request, text};
use super::token_store::Issued;
use crate::clock::Timestamp;
use crate::sandbox::settings::PlatformKind;

/// `force_refresh` a day, and the least seconds between two.
const FORCED_A_DAY: u32 = 20;
const FORCED_APART_S: u64 = 30;

/// `GET /cgi-bin/token`
pub(in crate::sandbox) fn token(platform: &mut Platform, request: &Request, now: Timestamp) -> Reply {
    if request.param("grant_type") != Some("client_credential") {
        return Err(refused(40002));
    }
    let appid = request.required("appid", 41002)?;
    platform.app(appid)?;
    let secret = request.required("secret", 41004)?;
    // WeChat has two numbers for it; which one when is not written down anywhere, so a client must know both.
    let wrong = if secret.len() == 32 { 40001 } else { 40125 };
    let secret_holds = platform.app(appid)?.secret_is(secret);
    if !secret_holds {
        return Err(refused(wrong));
    }
    platform.admits(appid, request.peer)?;
    platform.count(Api::Token, appid, now)?;
    Ok(access_token(&platform.token_store.classic(appid, now)))
}

/// `POST /cgi-bin/stable_token`
pub(in crate::sandbox) fn stable_token(platform: &mut Platform, request: &Request, now: Timestamp) -> Reply {
    let body = request.json()?;
    if text(&body, "grant_type", 40002)? != "client_credential" {
        return Err(refused(40002));
    }
    let appid = text(&body, "appid", 41002)?;
    platform.app(appid)?;
    let secret = text(&body, "secret", 41004)?;
    let force = match body.get("force_refresh") {
        None => false,
        Some(Value::Bool(force)) => *force,
        Some(_) => return Err(refused(47001)),
    };
    if !platform.app(appid)?.secret_is(secret) {
        return Err(refused(40125));
    }
    platform.admits(appid, request.peer)?;
    platform.count(Api::StableToken, appid, now)?;
    let apart = platform.scaled(FORCED_APART_S);
    let force = force && platform.app(appid)?.may_force(apart, now);
    Ok(access_token(&platform.token_store.stable(appid, now, force)))
}

/// `GET /cgi-bin/ticket/getticket`
pub(in crate::sandbox) fn getticket(platform: &mut Platform, request: &Request, now: Timestamp) -> Reply {
    let (appid, kind) = platform.bearer(request.param("access_token"), now)?;
    match kind {
        PlatformKind::OfficialAccount => {}
        PlatformKind::MiniProgram => return Err(refused(48001)),
    }
    if request.param("type") != Some("jsapi") {
        return Err(refused(40097));
    }
    platform.count(Api::GetTicket, &appid, now)?;
    let Issued { value, expires_in_s } = platform.token_store.ticket(&appid, now);
    Ok(json!({"errcode": 0, "errmsg": "ok", "ticket": value, "expires_in": expires_in_s}))
}

/// `POST /cgi-bin/clear_quota`
pub(in crate::sandbox) fn clear_quota(platform: &mut Platform, request: &Request, now: Timestamp) -> Reply {
    let (appid, _) = platform.bearer(request.param("access_token"), now)?;
    let body = request.json()?;
    if text(&body, "appid", 41002)? != appid {
        return Err(refused(40013));
    }
    platform.app(&appid)?.used.reset(now)?;
    Ok(json!({"errcode": 0, "errmsg": "ok"}))
}

fn access_token(issued: &Issued) -> Value {
    json!({"access_token": issued.value, "expires_in": issued.expires_in_s})
}

impl super::state::App {
    /// Whether this is the app's secret.
    pub fn secret_is(&self, given: &str) -> bool {
        bool::from(self.settings.secret.expose().as_bytes().ct_eq(given.as_bytes()))
    }

    /// Whether a forced refresh is done; otherwise WeChat ignores `force_refresh`.
    fn may_force(&mut self, apart: std::time::Duration, now: Timestamp) -> bool {
        let day = &now.to_beijing()[..8];
        if self.forced.0 != day {
            (self.forced.0, self.forced.1) = (day.to_owned(), 0);
        }
        let allowed = self.forced.1 < FORCED_A_DAY && self.forced.2.is_none_or(|last| last.after(apart) <= now);
        if allowed {
            (self.forced.1, self.forced.2) = (self.forced.1 + 1, Some(now));
        }
        allowed
    }
}

/// A secret that is wrong, or none: what the calls other than `/cgi-bin/token` answer.
pub(in crate::sandbox) fn authenticate<'r>(
    platform: &mut Platform,
    request: &'r Request,
    wanted: PlatformKind,
) -> Result<&'r str, Refusal> {
    let appid = request.required("appid", 41002)?;
    if platform.app(appid)?.settings.kind != wanted {
        return Err(refused(40013));
    }
    let secret = request.required("secret", 41004)?;
    if platform.app(appid)?.secret_is(secret) { Ok(appid) } else { Err(refused(40125)) }
}

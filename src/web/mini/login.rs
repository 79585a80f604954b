//! `POST /api/wechat/mini/login`: the code of `wx.login` for a session.
//!
//! The answer is the sealed session itself, which the mini program sends as `Authorization: Bearer …` from then on.
//! WeChat's `session_key` is dropped where it arrives; the openid stays inside the seal.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use crate::config::AppKind;
use crate::http::extract::body;
use crate::http::extract::json_object::Form;
use crate::http::extract::posted::json_only;
use crate::http::problem::Error;
use crate::secret::Secret;
use crate::store::NewUser;
use crate::web::envelope::{Failure, Reason, success};
use crate::web::limits::subscriber;
use crate::web::oauth::profile;
use crate::web::parameters::Parameters;
use crate::web::session::session;
use crate::web::state::WebState;
use crate::web::state::count_login;
use crate::wechat::mini_program::code2session;
use crate::wechat::platform::{Class, PlatformError};

/// How long a login waits for others of an address that sent bad codes.
const SLOWED: Duration = Duration::from_secs(10);
/// The largest body; a code is some forty bytes.
const MAX_BODY_BYTES: usize = 4 * 1024;
/// Longer than any code WeChat makes.
const MAX_CODE_BYTES: usize = 512;

pub async fn login(app: WebState, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let browser = app.browser()?;
    let (wechat_app, secret) = app.web_app(AppKind::MiniProgram, &Parameters::of(&parts.uri))?;
    let code = code(&app, &parts.headers, body).await?;
    let subscriber = subscriber(app.payer_ip(&parts.extensions, &parts.headers));
    // Nothing but the address tells the users of a mini program apart before they log in, and many share one: bad codes
    // of others may slow a login down, and never refuse it.
    let _one_by_one = match browser.bad_codes.check(&subscriber) {
        Ok(()) => None,
        Err(_) => {
            let lock = tokio::time::timeout(SLOWED, browser.slowed.lock(&subscriber));
            Some(lock.await.map_err(|_| Reason::Busy)?)
        }
    };
    let _pass = browser.exchanges.enter(&subscriber).map_err(|_| Reason::Busy)?;
    let user = code2session(&browser.platform, &wechat_app.app_id, secret, code.expose()).await.map_err(|e| {
        let failure = refusal(&e);
        count_login(&wechat_app.key, failure.reason.as_str());
        if e.blames_the_code() {
            browser.bad_codes.count(&subscriber);
        }
        failure
    })?;
    count_login(&wechat_app.key, "logged_in");
    let now = app.clock.now();
    let new = NewUser {
        app: wechat_app.key.clone(),
        openid: user.openid,
        unionid: user.unionid,
        nickname: None,
        avatar_url: None,
        is_snapshot: false,
    };
    let session = session(wechat_app, new.openid.clone(), false, now);
    profile::save(&app.store, new, now).await?;
    Ok(success(json!({"session": browser.sessions.token(&session)?})))
}

/// The one member of the request's JSON body.
pub async fn code(app: &WebState, headers: &HeaderMap, body: Body) -> Result<Secret, Failure> {
    json_only(headers)?;
    let body = body::read(headers, body, app.config.server.body_timeout).await?;
    if body.len() > MAX_BODY_BYTES {
        return Err(Error::TooLarge(MAX_BODY_BYTES).into());
    }
    let mut form = Form::parse(&body)?;
    let is_code = |text: &str| (1..=MAX_CODE_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    let code = form.text("code").filter(|text| is_code(text));
    match (code, form.finish().as_slice()) {
        (Some(code), []) => Ok(Secret::new(code)),
        _ => Err(Failure::bad_parameter("code", "must be the only member: a code of WeChat's")),
    }
}

/// What the client can do about WeChat's refusal of a code.
pub fn refusal(error: &PlatformError) -> Failure {
    let internal = error.to_string();
    match error {
        PlatformError::Transport(_) => Failure::because(Reason::Busy, internal),
        PlatformError::Unreadable(_) => Failure::because(Reason::LoginFailed, internal),
        PlatformError::Refused(refusal) => match refusal.class {
            Class::LoginOver => Reason::BadCode.into(),
            Class::TooFrequent => Reason::TooMany.into(),
            Class::UserRefused => Reason::RiskUser.into(),
            Class::Busy => Failure::because(Reason::Busy, internal),
            Class::TokenDead => Failure::because(Reason::TokenUnavailable, internal),
            Class::Configuration | Class::QuotaUsedUp | Class::Bug | Class::Other => {
                Failure::because(Reason::LoginFailed, internal)
            }
        },
    }
}

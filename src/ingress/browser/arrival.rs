//! `GET /api/wechat/getOpenId`: WeChat sends the browser back here; it goes on to its page, logged in.
//!
//! What must stay true: nobody is logged in with a code that their own browser did not ask for; a code that cannot be used
//! any more leads to one new login and then to a page that says so, never round in a circle.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::routes::App;
use super::exchange::{Login, Return, exchange};
use super::failure::{Failure, Reason};
use super::login::{Wish, to_wechat};
use super::page::{self, Again};
use super::parameters::Parameters;
use super::pending::PendingLogin;
use super::session::session;
use super::shared::{Browser, count_login};
use crate::config;
use crate::secret::Secret;
use crate::store::User;
use crate::wechat::oauth::{Scope, valid_state};

/// How often a login is begun again by itself.
const RESTARTS: u32 = 1;
/// Longer than any code WeChat makes.
const MAX_CODE_BYTES: usize = 512;

/// The route.
pub async fn get_open_id(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let browser = match app.browser() {
        Ok(browser) => browser,
        Err(failure) => return page::answer(&parts.headers, failure, &Again::default()),
    };
    let parameters = Parameters::of(&parts.uri);
    let login = match known_login(&app, browser, &parts, &parameters) {
        Ok(login) => login,
        Err(failure) => {
            return page::answer(&parts.headers, failure, &Again::page(browser.origins.first()));
        }
    };
    let again = Again::login(&login.callback, &login.scope, login.app.as_str());
    match arrived(&app, browser, &parts, &parameters, &login).await {
        Ok(response) => response,
        Err(failure) => page::answer(&parts.headers, failure, &again),
    }
}

/// The login that this browser began with the request's state.
fn known_login(app: &App, browser: &Browser, parts: &Parts, parameters: &Parameters) -> Result<PendingLogin, Failure> {
    let state = parameters.get("state")?.filter(|state| valid_state(state)).ok_or(Reason::BadState)?;
    let login = browser.logins.find(&parts.headers, state, app.clock.now()).ok_or(Reason::BadState)?;
    // The configuration may have changed since the login began.
    if browser.origins.page(&login.callback).is_some() { Ok(login) } else { Err(Reason::BadOrigin.into()) }
}

async fn arrived(
    app: &Arc<App>,
    browser: &Browser,
    parts: &Parts,
    parameters: &Parameters,
    login: &PendingLogin,
) -> Result<Response, Failure> {
    let Some(code) = parameters.get("code")? else {
        count_login(&login.app, "refused");
        return Err(Reason::LoginRefused.into());
    };
    let wechat_app = app.config.app(login.app.as_str()).ok_or(Reason::NotOpen)?;
    let scope = Scope::parse(&login.scope).ok_or(Reason::BadState)?;
    if code.len() > MAX_CODE_BYTES || !code.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Failure::bad_parameter("code", "must be a code of WeChat's"));
    }
    let ip = app.payer_ip(&parts.extensions, &parts.headers);
    browser.bad_codes.take(&ip).map_err(Failure::too_many)?;
    let back = Return { code: Secret::new(code), state: login.state.clone(), scope };
    let ended = exchange(app, wechat_app, back).await?;
    count_login(&login.app, ended.as_str());
    match ended {
        Login::Done(user) => {
            browser.bad_codes.give_back(&ip);
            welcome(app, browser, wechat_app, user, login)
        }
        Login::Foreign => Err(Reason::BadState.into()),
        Login::Over | Login::Failed if is_logged_in(app, browser, parts, login) => Ok(on_to(&login.callback)),
        Login::Over if login.tries < RESTARTS => {
            let wish = Wish { app: wechat_app, callback: &login.callback, scope, tries: login.tries + 1 };
            to_wechat(app, &parts.headers, &wish)
        }
        Login::Over | Login::Failed => Err(Reason::LoginFailed.into()),
    }
}

/// Whether this browser has a session with the login's app already: a late repeat of a return then just goes on.
fn is_logged_in(app: &App, browser: &Browser, parts: &Parts, login: &PendingLogin) -> bool {
    let session = browser.sessions.of(&parts.headers, &app.config, app.clock.now());
    session.is_some_and(|session| session.app == login.app)
}

fn welcome(
    app: &App,
    browser: &Browser,
    wechat_app: &config::App,
    user: User,
    login: &PendingLogin,
) -> Result<Response, Failure> {
    let session = session(wechat_app, user.openid, user.is_snapshot, app.clock.now());
    let mut response = on_to(&login.callback);
    for cookie in browser.sessions.cookies(&session)? {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// `callback` was found on the allow-list.
fn on_to(callback: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, callback.to_owned())]).into_response()
}

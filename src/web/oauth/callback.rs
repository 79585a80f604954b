//! `GET /api/wechat/getOpenId`: WeChat sends the browser back here; it goes on to its page, logged in.
//!
//! What must stay true: no user is logged in with a code that their own browser did not ask for; a code that cannot be
//! used any more leads to one new login and then to a page that says so, never round in a circle.

use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::exchange::{Login, Return, exchange};
use super::redirect::{AuthorizeRequest, to_wechat};
use super::state::PendingLogin;
use crate::secret::Secret;
use crate::web::envelope::{Failure, Reason};
use crate::web::error_page;
use crate::web::error_page::Again;
use crate::web::limits::subscriber;
use crate::web::parameters::Parameters;
use crate::web::session::{Session, session};
use crate::web::state::WebState;
use crate::web::state::{Browser, count_login};
use crate::wechat::oauth::{Scope, valid_state};

/// How often a login is begun again by itself.
const RESTARTS: u32 = 1;
/// Longer than any code WeChat makes.
const MAX_CODE_BYTES: usize = 512;

pub async fn get_open_id(app: WebState, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let browser = match app.browser() {
        Ok(browser) => browser,
        Err(failure) => return error_page::answer(&parts.headers, failure, &Again::default()),
    };
    let parameters = Parameters::of(&parts.uri);
    let login = match known_login(&app, browser, &parts, &parameters) {
        Ok(login) => login,
        Err(failure) => return unknown_login(&app, browser, &parts, &parameters, failure).await,
    };
    let again = Again::login(&browser.prefix, &login.callback, &login.scope, login.app.as_str());
    match arrived(&app, browser, &parts, &parameters, &login).await {
        Ok(response) => response,
        Err(failure) => error_page::answer(&parts.headers, failure, &again),
    }
}

/// The login that this browser began with the request's state.
fn known_login(
    app: &WebState,
    browser: &Browser,
    parts: &Parts,
    parameters: &Parameters,
) -> Result<PendingLogin, Failure> {
    let state = parameters.get("state")?.filter(|state| valid_state(state)).ok_or(Reason::BadState)?;
    let login = browser.logins.find(&parts.headers, state, app.clock.now()).ok_or(Reason::BadState)?;
    // The configuration may have changed since the login began.
    if browser.origins.page(&login.callback).is_some() { Ok(login) } else { Err(Reason::BadOrigin.into()) }
}

/// A return whose login is not there: finished, and reloaded later. Who is logged in goes on to where people
/// begin, which grants nothing.
async fn unknown_login(
    app: &WebState,
    browser: &Browser,
    parts: &Parts,
    parameters: &Parameters,
    failure: Failure,
) -> Response {
    let returned = matches!(parameters.get("state"), Ok(Some(state)) if valid_state(state));
    let session = app.session(&parts.headers).await.ok().flatten();
    match (browser.origins.first(), session) {
        (Some(first), Some(_)) if returned && failure.reason == Reason::BadState => on_to(first),
        (first, _) => error_page::answer(&parts.headers, failure, &Again::page(first)),
    }
}

async fn arrived(
    app: &WebState,
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
    let subscriber = subscriber(app.payer_ip(&parts.extensions, &parts.headers));
    let is_first_try = login.tries == 0 && browser.logins.under_way(&parts.headers, app.clock.now()) <= 1;
    let back = Return { code: Secret::new(code), state: login.state.clone(), scope, subscriber, is_first_try };
    let ended = exchange(app, wechat_app, back).await?;
    count_login(&login.app, ended.as_str());
    let known = known_session(app, parts, login).await?;
    match (ended, known) {
        (Login::Done(user), _) => {
            let session = session(wechat_app, user.openid, user.is_snapshot, app.clock.now());
            let cookies = browser.sessions.cookies(&session)?;
            onwards(app, browser, parts, login, &session, cookies.into())
        }
        (Login::Foreign, _) => Err(Reason::BadState.into()),
        (Login::Over | Login::Failed, Some(session)) => onwards(app, browser, parts, login, &session, Vec::new()),
        (Login::Over, None) if login.tries < RESTARTS => {
            let request =
                AuthorizeRequest { app: wechat_app, callback: &login.callback, scope, tries: login.tries + 1 };
            to_wechat(app, &parts.headers, &request)
        }
        (Login::Over | Login::Failed, None) => Err(Reason::LoginFailed.into()),
    }
}

/// The session that this browser has with the login's app already: a late repeat of a return then just goes on.
async fn known_session(app: &WebState, parts: &Parts, login: &PendingLogin) -> Result<Option<Session>, Failure> {
    let session = app.session(&parts.headers).await?;
    Ok(session.filter(|session| session.app == login.app))
}

/// To the login's page with these cookies; a browser that was just sent there again and again gets an error page
/// instead.
fn onwards(
    app: &WebState,
    browser: &Browser,
    parts: &Parts,
    login: &PendingLogin,
    session: &Session,
    cookies: Vec<HeaderValue>,
) -> Result<Response, Failure> {
    let counted = browser.rounds.count(&parts.headers, &login.state, session.snapshot, app.clock.now())?;
    let mut response = if counted.in_a_circle {
        let again = Again::login(&browser.prefix, &login.callback, &login.scope, login.app.as_str());
        error_page::answer(&parts.headers, in_a_circle(session), &again)
    } else {
        on_to(&login.callback)
    };
    for cookie in cookies.into_iter().chain([counted.cookie]) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn in_a_circle(session: &Session) -> Failure {
    if session.snapshot {
        // The page waits for a person, whom WeChat shows only when they ask for it.
        return Reason::SnapshotUser.into();
    }
    let why = "one browser completed three logins within a minute: its page does not see the session, or insists on \
               what WeChat does not give; is the page of the host of server.public_url?";
    Failure::because(Reason::LoginLoop, why)
}

/// `callback` was found on the allow-list.
fn on_to(callback: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, callback.to_owned())]).into_response()
}

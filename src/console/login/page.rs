//! `GET` and `POST /console/login`, `POST /console/logout`.

use askama::Template;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::throttle;
use super::words::LoginWords;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::{Posted, PostedHere};
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::ops;
use crate::secret::Secret;
use crate::store::ConsoleLogin;

#[derive(Template)]
#[template(path = "console/login.html")]
struct LoginPage {
    frame: Frame,
    t: &'static LoginWords,
    error: Option<&'static str>,
    name: String,
    next: String,
}

pub async fn form(app: Console, query: Filters) -> Result<Response, Fault> {
    let t = LoginWords::of(app.lang);
    let next = links::inside(query.text("next")).to_owned();
    page(&LoginPage { frame: Frame::bare(&app, Place::None, t.title), t, error: None, name: String::new(), next })
}

pub async fn log_in(app: Console, headers: HeaderMap, PostedHere(fields): PostedHere) -> Result<Response, Fault> {
    let t = LoginWords::of(app.lang);
    let (name, next) = (fields.get("name").unwrap_or_default(), links::inside(fields.get("next").unwrap_or_default()));
    let password = Secret::new(fields.exact("password").unwrap_or_default());
    let again = |error, status| {
        let name = name.chars().take(64).collect();
        let frame = Frame::bare(&app, Place::None, t.title);
        let answer = page(&LoginPage { frame, t, error: Some(error), name, next: next.to_owned() })?;
        Ok((status, answer).into_response())
    };
    if !throttle::begin(&app, name).await? {
        throttle::failed(&app, "slowed").await?;
        return again(t.slow, StatusCode::TOO_MANY_REQUESTS);
    }
    let Some(login) = compare(&app, name, password).await? else {
        throttle::failed(&app, "wrong").await?;
        return again(t.wrong, StatusCode::FORBIDDEN);
    };
    match open_session(&app, &login, &headers).await? {
        Some(token) => {
            throttle::succeeded(&app, name).await?;
            signed_in(&app, &token, Redirect::to(next).into_response())
        }
        None => again(t.wrong, StatusCode::FORBIDDEN),
    }
}

pub async fn log_out(app: Console, posted: Posted) -> Result<Response, Fault> {
    let viewer = &posted.viewer;
    let user = (viewer.session.user_id, viewer.access());
    ops::users::end_session(&app.store, &viewer.operator(), user, viewer.session.id, app.clock.now()).await?;
    let mut response = Redirect::to("/console/login").into_response();
    if let Some(line) = app.shared.jar.end(app.shared.jar.session()) {
        response.headers_mut().append(header::SET_COOKIE, line);
    }
    Ok(response)
}

/// The user of this name, if the password is its own. An unknown name takes as long as a known one.
pub(super) async fn compare(app: &Console, name: &str, password: Secret) -> Result<Option<ConsoleLogin>, Fault> {
    let login = match ops::users::parse_name(name) {
        Some(name) => app.store.console_login(name).await?,
        None => None,
    };
    let stored = login.as_ref().map(|login| login.password.clone());
    let is_right = app.shared.passwords.is(password, stored).await?;
    Ok(login.filter(|_| is_right))
}

/// Opens a session for a user whose password was compared; answers its token.
pub(super) async fn open_session(
    app: &Console,
    login: &ConsoleLogin,
    headers: &HeaderMap,
) -> Result<Option<String>, Fault> {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (client, life) = (app.client.to_string(), app.config.console.session_lifetime);
    Ok(ops::users::log_in(&app.store, login, (&client, agent), life, app.clock.now()).await?)
}

/// The answer with the session's cookie, which ends with the session.
pub(super) fn signed_in(app: &Console, token: &str, mut response: Response) -> Result<Response, Fault> {
    let jar = app.shared.jar;
    let line = jar.set(jar.session(), token, app.config.console.session_lifetime);
    let line = line.ok_or_else(|| Fault::Internal("a session's token is no value of a cookie".to_owned()))?;
    response.headers_mut().append(header::SET_COOKIE, line);
    Ok(response)
}

/// To the login, which says that the password is set.
pub(super) fn to_login(app: &Console) -> Response {
    flash::redirect(app.shared.jar, "/console/login", LoginWords::of(app.lang).set)
}

//! `/console/invitation/{token}`: sets a password, once. Loading the page uses nothing up: programs load links, too.

use askama::Template;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::page::{compare, open_session, signed_in, to_login};
use super::passwords::{self, Weak};
use super::throttle;
use super::words::LoginWords;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::{Fields, Posted, PostedHere};
use crate::console::frame::{Frame, page};
use crate::console::nav::Place;
use crate::console::state::Console;
use crate::console::viewer::token_hash;
use crate::ops;
use crate::secret::Secret;

#[derive(Template)]
#[template(path = "console/invitation.html")]
struct InvitationPage {
    frame: Frame,
    t: &'static LoginWords,
    /// Whose password is set; none where the link is no longer good.
    name: Option<String>,
    error: Option<&'static str>,
}

pub async fn form(app: Console, Path(token): Path<String>) -> Result<Response, Fault> {
    show(&app, &token, None).await
}

pub async fn set(app: Console, Path(token): Path<String>, PostedHere(fields): PostedHere) -> Result<Response, Fault> {
    let (hash, now) = (token_hash(&token), app.clock.now());
    let Some(user) = app.store.invited(&hash, now).await? else { return show(&app, &token, None).await };
    let password = match entered(&app, &fields, &user.name) {
        Ok(password) => password,
        Err(error) => return show(&app, &token, Some(error)).await,
    };
    let stored = app.shared.passwords.hash(password).await?;
    let client = app.client.to_string();
    if ops::users::use_invitation(&app.store, &hash, &stored, (&user.name, &client), now).await? {
        return Ok(to_login(&app));
    }
    show(&app, &token, None).await
}

async fn show(app: &Console, token: &str, error: Option<&'static str>) -> Result<Response, Fault> {
    let t = LoginWords::of(app.lang);
    let name = app.store.invited(&token_hash(token), app.clock.now()).await?.map(|user| user.name);
    let (status, title) = match &name {
        Some(_) if error.is_none() => (StatusCode::OK, t.invitation),
        Some(_) => (StatusCode::UNPROCESSABLE_ENTITY, t.invitation),
        None => (StatusCode::GONE, t.gone_title),
    };
    let answer = page(&InvitationPage { frame: Frame::bare(app, Place::None, title), t, name, error })?;
    Ok((status, answer).into_response())
}

/// `POST /console/password`: another password for the user of the session, which alone goes on.
pub async fn change(app: Console, headers: HeaderMap, posted: Posted) -> Result<Response, Fault> {
    let Posted { viewer, fields } = posted;
    let t = LoginWords::of(app.lang);
    let back = |says: &str| Ok(flash::redirect(app.shared.jar, "/console/settings", says));
    if !throttle::begin(&app, viewer.name()).await? {
        throttle::failed(&app, "slowed").await?;
        return back(t.slow);
    }
    let current = Secret::new(fields.exact("current").unwrap_or_default());
    let Some(login) = compare(&app, viewer.name(), current).await? else {
        throttle::failed(&app, "wrong").await?;
        ops::users::password_refused(&app.store, &viewer.operator(), app.clock.now()).await?;
        return back(t.wrong);
    };
    throttle::succeeded(&app, viewer.name()).await?;
    let password = match entered(&app, &fields, viewer.name()) {
        Ok(password) => password,
        Err(error) => return back(error),
    };
    let stored = app.shared.passwords.hash(password).await?;
    let (client, now) = (app.client.to_string(), app.clock.now());
    if !ops::users::change_password(&app.store, &login, &stored, &client, now).await? {
        return back(t.wrong);
    }
    let Some(login) = app.store.console_login(viewer.name()).await? else { return Ok(to_login(&app)) };
    let Some(token) = open_session(&app, &login, &headers).await? else { return Ok(to_login(&app)) };
    signed_in(&app, &token, flash::redirect(app.shared.jar, "/console/settings", t.changed))
}

/// The new password, entered twice.
fn entered(app: &Console, fields: &Fields, name: &str) -> Result<Secret, &'static str> {
    let t = LoginWords::of(app.lang);
    let (password, repeated) =
        (fields.exact("password").unwrap_or_default(), fields.exact("repeated").unwrap_or_default());
    match passwords::check(password, name) {
        Err(Weak::Length) => Err(t.short),
        Err(Weak::IsName) => Err(t.is_name),
        Ok(()) if password != repeated => Err(t.differs),
        Ok(()) => Ok(Secret::new(password)),
    }
}

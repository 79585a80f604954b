//! `/console/settings/users`: inviting, changing and removing users, for those who may manage them.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::page::{Choices, described};
use super::words::SettingsWords;
use crate::clock::Timestamp;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::{Fields, Posted};
use crate::console::frame::{Frame, page};
use crate::console::nav::Place;
use crate::console::state::Console;
use crate::console::viewer::Viewer;
use crate::ids::MerchantKey;
use crate::ops;
use crate::store::{Access, ConsoleUser, Right, Role};

const SETTINGS: &str = "/console/settings";

#[derive(Template)]
#[template(path = "console/user.html")]
struct UserPage {
    frame: Frame,
    t: &'static SettingsWords,
    user: ConsoleUser,
    choices: Choices,
}

#[derive(Template)]
#[template(path = "console/invited.html")]
struct InvitedPage {
    frame: Frame,
    t: &'static SettingsWords,
    name: String,
    role: String,
    link: String,
    until: Timestamp,
}

/// `POST /console/settings/users`: a new user.
pub async fn invite(app: Console, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Admin)?;
    let t = SettingsWords::of(app.lang);
    let back = |says| Ok(flash::redirect(app.shared.jar, SETTINGS, says));
    let Some(name) = fields.get("name").and_then(ops::users::parse_name) else { return back(t.bad_name) };
    let users = app.store.console_users(ops::users::LIMIT).await?;
    if users.iter().any(|user| user.name == name) {
        return back(t.exists);
    }
    let access = entered(t, &fields)?;
    show_link(&app, &viewer, name, access).await
}

/// `POST …/{id}/link`: another password for a user.
pub async fn link(app: Console, Path(id): Path<i64>, Posted { viewer, .. }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Admin)?;
    let user = managed(&app, &viewer, id).await?;
    show_link(&app, &viewer, &user.name, user.access.clone()).await
}

/// `GET …/{id}`
pub async fn form(app: Console, Path(id): Path<i64>, viewer: Viewer) -> Result<Response, Fault> {
    viewer.require(Right::Admin)?;
    let user = managed(&app, &viewer, id).await?;
    let frame = Frame::new(&app, &viewer, Place::Settings, user.name.clone());
    let choices = Choices::new(&app, &viewer, &user.access);
    page(&UserPage { frame, t: SettingsWords::of(app.lang), user, choices })
}

/// `POST …/{id}`: other access.
pub async fn change(app: Console, Path(id): Path<i64>, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Admin)?;
    let access = entered(SettingsWords::of(app.lang), &fields)?;
    alter(&app, &viewer, id, Some(&access)).await
}

/// `POST …/{id}/remove`
pub async fn remove(app: Console, Path(id): Path<i64>, Posted { viewer, .. }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Admin)?;
    alter(&app, &viewer, id, None).await
}

async fn alter(app: &Console, viewer: &Viewer, id: i64, access: Option<&Access>) -> Result<Response, Fault> {
    let t = SettingsWords::of(app.lang);
    let (operator, now) = (viewer.operator(), app.clock.now());
    let change = ops::users::change(&app.store, &operator, viewer.access(), (id, access), now).await?;
    let done = if access.is_some() { t.saved } else { t.removed };
    Ok(flash::redirect(app.shared.jar, SETTINGS, t.refusal(change).unwrap_or(done)))
}

async fn show_link(app: &Console, viewer: &Viewer, name: &str, access: Access) -> Result<Response, Fault> {
    let t = SettingsWords::of(app.lang);
    let role = described(&access, app.lang);
    let (operator, now) = (viewer.operator(), app.clock.now());
    let invited = ops::users::invite(&app.store, &operator, Some(viewer.access()), (name, access), now).await?;
    if let Some(refusal) = t.refusal(invited.change) {
        return Ok(flash::redirect(app.shared.jar, SETTINGS, refusal));
    }
    let link = ops::users::invitation_link(&app.config, &invited.token);
    let frame = Frame::new(app, viewer, Place::Settings, t.link_title);
    page(&InvitedPage { frame, t, name: name.to_owned(), role, link, until: invited.expires_at })
}

/// A user whom the viewer may manage.
async fn managed(app: &Console, viewer: &Viewer, id: i64) -> Result<ConsoleUser, Fault> {
    let user = app.store.console_user(id).await?;
    user.filter(|user| viewer.access().contains(&user.access)).ok_or(Fault::NotFound)
}

/// The access that a form names. What the viewer itself may not do is refused where it is written.
fn entered(t: &SettingsWords, fields: &Fields) -> Result<Access, Fault> {
    let role = fields.get("role").and_then(Role::parse).ok_or(Fault::ForeignForm)?;
    let grants = fields.all("right").filter_map(Right::parse).filter(|right| !role.rights().contains(right)).collect();
    let merchants: Result<Vec<MerchantKey>, _> = fields.all("merchant").map(MerchantKey::parse).collect();
    let merchants = merchants.map_err(|_| Fault::ForeignForm)?;
    // All of them are chosen by their own button alone: no box that is missing or left empty widens access.
    let merchants = match fields.get("merchants") {
        Some("all") => None,
        Some(_) | None if merchants.is_empty() => return Err(Fault::Unusable(t.no_merchant.to_owned())),
        Some(_) | None => Some(merchants),
    };
    Ok(Access { role, grants, merchants })
}

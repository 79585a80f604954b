//! Starting, pausing, resuming and cancelling a replay.

use axum::extract::Path;
use axum::response::Response;

use super::page::TYPED_ABOVE;
use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::links;
use crate::console::state::Console;
use crate::http::Error;
use crate::ops::replay::{Action, ReplayError, act, get as read, start as begin};
use crate::store::Right;

/// `POST …/start`: of many rows, their number is typed in.
pub async fn start(app: Console, Path(id): Path<String>, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    let t = Texts::of(app.lang);
    let operator = viewer.operator();
    let view = read(&app.store, &operator, &id).await.map_err(Error::from)?;
    let typed: String = fields.get("count").unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    if view.replay.total > TYPED_ABOVE && typed != view.replay.total.to_string() {
        return Ok(back(&app, &id, t.wrong_count));
    }
    match begin(app.tools(), &operator, &id).await {
        Ok((_, changed)) if changed.is_empty() => Ok(back(&app, &id, t.says_started)),
        Ok((_, changed)) => Ok(back(&app, &id, &format!("{} {} {}", t.says_started, changed.len(), t.says_changed))),
        Err(ReplayError::State(_)) => Ok(back(&app, &id, t.says_state)),
        Err(e) => Err(Error::from(e).into()),
    }
}

/// `POST …/pause`
pub async fn pause(app: Console, Path(id): Path<String>, posted: Posted) -> Result<Response, Fault> {
    let says = Texts::of(app.lang).says_paused;
    change(&app, &id, &posted, Action::Pause, says).await
}

/// `POST …/resume`
pub async fn resume(app: Console, Path(id): Path<String>, posted: Posted) -> Result<Response, Fault> {
    let says = Texts::of(app.lang).says_resumed;
    change(&app, &id, &posted, Action::Resume, says).await
}

/// `POST …/cancel`
pub async fn cancel(app: Console, Path(id): Path<String>, posted: Posted) -> Result<Response, Fault> {
    let says = Texts::of(app.lang).says_cancelled;
    change(&app, &id, &posted, Action::Cancel, says).await
}

async fn change(
    app: &Console,
    id: &str,
    posted: &Posted,
    action: Action,
    says: &'static str,
) -> Result<Response, Fault> {
    posted.viewer.require(Right::Replay)?;
    match act(&app.store, &app.clock, &posted.viewer.operator(), id, action).await {
        Ok(_) => Ok(back(app, id, says)),
        Err(ReplayError::State(_)) => Ok(back(app, id, Texts::of(app.lang).says_state)),
        Err(e) => Err(Error::from(e).into()),
    }
}

fn back(app: &Console, id: &str, says: &str) -> Response {
    flash::redirect(app.shared.jar, &links::replay(id), says)
}

//! `POST /console/settings/sessions/{id}/end`.

use axum::extract::Path;
use axum::response::Response;

use super::words::SettingsWords;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::state::Console;
use crate::ops;

pub async fn end(app: Console, Path(id): Path<i64>, Posted { viewer, .. }: Posted) -> Result<Response, Fault> {
    let t = SettingsWords::of(app.lang);
    let user = (viewer.session.user_id, viewer.access());
    let ended = ops::users::end_session(&app.store, &viewer.operator(), user, id, app.clock.now()).await?;
    Ok(flash::redirect(app.shared.jar, "/console/settings", if ended { t.ended } else { t.session_gone }))
}

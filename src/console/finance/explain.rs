//! `POST /console/reconciliation/{merchant}/{day}/explain`: a day that WeChat no longer has, explained by a note.

use axum::extract::Path;
use axum::response::Response;

use super::day::{Named, named};
use super::words::FinanceWords;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::links;
use crate::console::state::Console;
use crate::console::ui::reason;
use crate::ops::reconciliation::{ExplainError, explain};
use crate::store::Right;

/// Explains the day.
pub async fn day(app: Console, Path(name): Path<Named>, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Accept)?;
    let t = FinanceWords::of(app.lang);
    let (merchant, day) = named(&app, &viewer, &name)?;
    let back = links::reconciliation(&merchant.key, &name.1);
    let note = match reason::check(fields.get("note"), app.lang) {
        Ok(note) => note,
        Err(problem) => return Ok(flash::redirect(app.shared.jar, &back, problem)),
    };
    let says = match explain((&app.store, &app.clock), &viewer.operator(), (&merchant.key, day), note).await {
        Ok(()) => t.says_day_explained,
        Err(ExplainError::Kept { .. }) => t.says_kept,
        Err(ExplainError::NotOpen) => t.says_day_not_open,
        Err(ExplainError::Store(e)) => return Err(e.into()),
    };
    Ok(flash::redirect(app.shared.jar, &back, says))
}

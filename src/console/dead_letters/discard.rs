//! Discarding dead letters: first what it would end, then, with a reason, the end.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::list::PATH;
use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::frame::{Frame, page};
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::reason;
use crate::console::viewer::Viewer;
use crate::ops::dead_letters;
use crate::store::{DeadLetterRow, Discarded, Right};

/// Dead letters that one form discards.
const MOST: usize = 50;

#[derive(Template)]
#[template(path = "console/discard.html")]
struct DiscardPage {
    frame: Frame,
    t: &'static Texts,
    rows: Vec<DeadLetterRow>,
    /// What was entered, and what is wrong with it.
    reason: String,
    problem: Option<&'static str>,
}

/// `GET /console/dead-letters/discard?ids=…`: what would be discarded.
pub async fn ask(app: Console, viewer: Viewer, filters: Filters) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    page(&form(&app, &viewer, filters.all("ids")).await?)
}

async fn form<'a>(app: &Console, viewer: &Viewer, ids: impl Iterator<Item = &'a str>) -> Result<DiscardPage, Fault> {
    let operator = viewer.operator();
    let mut rows = Vec::new();
    for id in ids.filter_map(|id| id.parse().ok()).take(MOST) {
        rows.extend(dead_letters::get(&app.store, &operator, id).await?.map(|found| found.row));
    }
    let t = Texts::of(app.lang);
    let frame = Frame::new(app, viewer, Place::DeadLetters, t.discard_title);
    Ok(DiscardPage { frame, t, rows, reason: String::new(), problem: None })
}

/// `POST /console/dead-letters/discard`
pub async fn discard(app: Console, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    let t = Texts::of(app.lang);
    let reason = match reason::check(fields.get("reason"), app.lang) {
        Ok(reason) => reason,
        Err(problem) => {
            let form = form(&app, &viewer, fields.all("ids")).await?;
            let entered = fields.get("reason").unwrap_or_default().to_owned();
            let shown = DiscardPage { reason: entered, problem: Some(problem), ..form };
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&shown)?).into_response());
        }
    };
    let (mut discarded, mut left) = (0, 0);
    for id in fields.all("ids").filter_map(|id| id.parse().ok()).take(MOST) {
        match dead_letters::discard(&app.store, &viewer.operator(), id, &reason, app.clock.now()).await? {
            Discarded::Now => discarded += 1,
            Discarded::Before | Discarded::Replayed | Discarded::None => left += 1,
        }
    }
    let mut says = format!("{}: {discarded}", t.discarded);
    if left > 0 {
        says.push_str(&format!("; {left} {}", t.not_discarded));
    }
    Ok(flash::redirect(app.shared.jar, PATH, &says))
}

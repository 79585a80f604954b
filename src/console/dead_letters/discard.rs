//! Discarding dead letters: first what it would end, then, with a reason, the end.

use askama::Template;
use axum::response::Response;

use super::list::PATH;
use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::frame::{Frame, page};
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::viewer::Viewer;
use crate::ops::dead_letters;
use crate::store::{DeadLetterRow, Discarded, Right};

/// Dead letters that one form discards.
const MOST: usize = 50;
/// The longest reason, in bytes.
const REASON_MAX_BYTES: usize = 500;

#[derive(Template)]
#[template(path = "console/discard.html")]
struct DiscardPage {
    frame: Frame,
    t: &'static Texts,
    rows: Vec<DeadLetterRow>,
}

/// `GET /console/dead-letters/discard?ids=…`: what would be discarded.
pub async fn ask(app: Console, viewer: Viewer, filters: Filters) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    let operator = viewer.operator();
    let mut rows = Vec::new();
    for id in filters.all("ids").filter_map(|id| id.parse().ok()).take(MOST) {
        rows.extend(dead_letters::get(&app.store, &operator, id).await?.map(|found| found.row));
    }
    let t = Texts::of(app.lang);
    page(&DiscardPage { frame: Frame::new(&app, &viewer, Place::DeadLetters, t.discard_title), t, rows })
}

/// `POST /console/dead-letters/discard`
pub async fn discard(app: Console, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    let t = Texts::of(app.lang);
    let reason = fields.get("reason").filter(|reason| reason.len() <= REASON_MAX_BYTES);
    let reason =
        reason.ok_or_else(|| Fault::Unusable(app.lang.pick("请填写原因。", "A reason is required.").into()))?;
    let (mut discarded, mut left) = (0, 0);
    for id in fields.all("ids").filter_map(|id| id.parse().ok()).take(MOST) {
        match dead_letters::discard(&app.store, &viewer.operator(), id, reason, app.clock.now()).await? {
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

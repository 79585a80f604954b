//! `GET /console/dead-letters/{id}`: with its message, masked, and its attempts.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::list::status;
use super::reasons;
use super::words::Texts;
use crate::clock::Timestamp;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::state::Console;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::viewer::Viewer;
use crate::ops::reason::ReasonClass;
use crate::ops::{dead_letters, mask};
use crate::store::{DeadLetter, DeadLetterState};

#[derive(Template)]
#[template(path = "console/dead_letter.html")]
struct DeadLetterPage {
    frame: Frame,
    t: &'static Texts,
    facts: Facts,
    why: Option<(&'static str, &'static str)>,
    message: Option<String>,
    bytes: usize,
    attempts: Vec<(i64, Option<Timestamp>, String)>,
    badge: crate::console::ui::status::Badge,
    is_parked: bool,
    replay: String,
    discard: String,
    reason: String,
}

pub async fn get(app: Console, viewer: Viewer, Path(id): Path<i64>) -> Result<Response, Fault> {
    let found = dead_letters::view(&app.store, &viewer.operator(), id, app.clock.now()).await?;
    let found = found.ok_or(Fault::NotFound)?;
    let t = Texts::of(app.lang);
    let frame = Frame::new(&app, &viewer, Place::DeadLetters, format!("{} {id}", t.one));
    let class = ReasonClass::parse(&found.row.reason);
    let shown = mask::message(&found.payload);
    let id = id.to_string();
    page(&DeadLetterPage {
        facts: facts(&frame, t, &found),
        why: class.map(|class| (reasons::sentence(class, app.lang), reasons::mend(class, app.lang))),
        message: shown.and_then(|shown| serde_json::to_string_pretty(&shown).ok()),
        bytes: found.payload.len(),
        attempts: dead_letters::attempts(&found).into_iter().map(|(n, at, error)| (n, at, error.to_owned())).collect(),
        badge: frame.badge(status(found.row.state)),
        is_parked: found.row.state == DeadLetterState::Parked,
        replay: links::plan([("kind", "dead_letter"), ("ids", id.as_str())]),
        discard: format!("{}/discard?ids={id}", super::list::PATH),
        reason: found.row.reason,
        frame,
        t,
    })
}

fn facts(frame: &Frame, t: &'static Texts, found: &DeadLetter) -> Facts {
    let row = &found.row;
    let merchant = row.merchant();
    let order = row.order_no.as_ref().map(|no| match &merchant {
        Some(merchant) => Cell::Id(frame.id(links::order(merchant, no), no)),
        None => Cell::Id(frame.plain_id(no)),
    });
    let rows = [
        (frame.w.merchant, merchant.as_ref().map(|key| Cell::Text(key.to_string()))),
        (frame.w.order, order),
        (t.parked_at, Some(Cell::Time(frame.time(&row.parked_at)))),
        (t.attempts, Some(Cell::Text(row.attempts.to_string()))),
        (t.consumer, Some(Cell::Code(row.consumer.clone()))),
        (t.subject, Some(Cell::Code(row.subject.clone()))),
        (t.event, Some(Cell::Id(frame.id(links::notification(&row.event_id), &row.event_id)))),
        (t.ended, row.ended_at.map(|at| Cell::Time(frame.moment(&at)))),
        (t.ended_by, row.ended_by.clone().map(Cell::Text)),
        (t.ended_reason, row.ended_reason.clone().map(Cell::Text)),
    ];
    Facts { rows: rows.into_iter().filter_map(|(label, cell)| Some((label, cell?))).collect() }
}

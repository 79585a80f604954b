//! `GET /console/payers` and `GET /console/payers/erasures/{id}`: the forms, the erasures, and one of them.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::words::PayerWords;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::ui::status::Status;
use crate::console::viewer::Viewer;
use crate::ids::AppKey;
use crate::ops;
use crate::store::{Counts, Erasure, Right};

const LIMIT: u64 = 50;

/// What a form has, and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Entered {
    pub app: String,
    pub openid: String,
    pub reason: String,
    pub problem: Option<String>,
}

#[derive(Template)]
#[template(path = "console/payers.html")]
pub struct PayersPage {
    frame: Frame,
    t: &'static PayerWords,
    query: Filters,
    /// Where sessions may be ended; none where the viewer may not.
    apps: Vec<String>,
    /// Where payers may be erased; none where the viewer may not.
    erasable: Vec<String>,
    ending: Entered,
    erasing: Entered,
    rows: Vec<Erasure>,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "console/erasure.html")]
struct ErasurePage {
    frame: Frame,
    t: &'static PayerWords,
    facts: Facts,
}

/// Who may see what was done to payers: who may do some of it.
pub fn require(viewer: &Viewer) -> Result<(), Fault> {
    if viewer.may(Right::Accept) { Ok(()) } else { viewer.require(Right::Admin) }
}

/// The forms, with nothing entered, and the erasures.
pub async fn list(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    page(&shown(&app, &viewer, query, (Entered::default(), Entered::default())).await?)
}

/// The same with what was entered.
pub async fn shown(
    app: &Console,
    viewer: &Viewer,
    query: Filters,
    (ending, erasing): (Entered, Entered),
) -> Result<PayersPage, Fault> {
    require(viewer)?;
    let t = PayerWords::of(app.lang);
    let operator = viewer.operator();
    let names = |may: bool, apps: Vec<&AppKey>| -> Vec<String> {
        apps.into_iter().filter(|_| may).map(ToString::to_string).collect()
    };
    let before = query.get("before").and_then(|id| id.parse().ok());
    let found = ops::erasures::list((&app.store, &app.config), &operator, (before, LIMIT)).await?;
    let older = found.next.map(|id| query.with(links::PAYERS, "before", &id.to_string()));
    Ok(PayersPage {
        frame: Frame::new(app, viewer, Place::Settings, t.title),
        t,
        query,
        apps: names(viewer.may(Right::Accept), ops::sessions::apps(&app.config, &operator)),
        erasable: names(viewer.may(Right::Admin), ops::erasures::apps(&app.config, &operator)),
        ending,
        erasing,
        rows: found.rows,
        older,
    })
}

/// One erasure: how far it is, and what it waits for.
pub async fn get(app: Console, viewer: Viewer, Path(id): Path<i64>) -> Result<Response, Fault> {
    require(&viewer)?;
    let t = PayerWords::of(app.lang);
    let found = ops::erasures::get((&app.store, &app.config), &viewer.operator(), id).await?;
    let found = found.ok_or(Fault::NotFound)?;
    let frame = Frame::new(&app, &viewer, Place::Settings, format!("{} {id}", t.erasure));
    let facts = facts(&frame, t, &found);
    page(&ErasurePage { frame, t, facts })
}

fn facts(frame: &Frame, t: &'static PayerWords, of: &Erasure) -> Facts {
    let time = |at: &Option<_>| at.as_ref().map_or(Cell::None, |at| Cell::Time(frame.time(at)));
    Facts {
        rows: vec![
            (frame.w.state, Cell::Badge(frame.badge(of.state))),
            (t.app, Cell::Text(of.app.to_string())),
            (t.payer, Cell::Id(frame.plain_id(&of.payer))),
            (frame.w.reason, Cell::Text(of.reason.clone())),
            (t.asked_by, Cell::Text(of.asked_by[0].clone())),
            (t.asked_at, Cell::Time(frame.time(&of.asked_at))),
            (t.changed, Cell::Text(of.changed.to_string())),
            (t.removed, Cell::Text(of.removed.to_string())),
            (t.waits_for, Cell::text(Some(waits(t, &of.waits_for)).filter(|text| !text.is_empty()))),
            (t.error, Cell::text(of.error.clone())),
            (t.next_at, time(&of.next_at)),
            (t.ended_at, time(&of.ended_at)),
        ],
    }
}

/// What an erasure waits for, and how many of it.
fn waits(t: &'static PayerWords, counts: &Counts) -> String {
    let word = |name: &str| match name {
        "orders" => t.orders,
        "evidence" => t.evidence,
        "notifications" => t.notifications,
        "dead_letters" => t.dead_letters,
        "messages" => t.messages,
        "unreadable" => t.unreadable,
        "keys" => t.keys,
        _ => t.last_pass,
    };
    let counted = counts.iter().map(|(name, count)| match name.as_str() {
        "last_pass" => t.last_pass.to_owned(),
        name => format!("{}: {count}", word(name)),
    });
    counted.collect::<Vec<_>>().join(", ")
}

impl PayersPage {
    fn path(&self) -> &'static str {
        links::PAYERS
    }

    fn status(&self, row: &Erasure) -> Status {
        row.state.into()
    }

    fn link(&self, row: &Erasure) -> String {
        links::erasure(row.id)
    }

    fn waits(&self, row: &Erasure) -> String {
        waits(self.t, &row.waits_for)
    }
}

impl ErasurePage {
    fn audit(&self) -> String {
        links::audit_of_action("payer.erase")
    }
}

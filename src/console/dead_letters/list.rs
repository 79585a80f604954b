//! The dead letters of a group, newest first.

use askama::Template;
use axum::response::Response;

use super::reasons;
use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::id::Id;
use crate::console::ui::status::{Badge, Status};
use crate::console::viewer::Viewer;
use crate::http::extract::cursor;
use crate::ops::dead_letters;
use crate::ops::reason::ReasonClass;
use crate::store::{DeadLetterFilter, DeadLetterRow, DeadLetterState};

pub const PATH: &str = "/console/dead-letters";
const LIMIT: u64 = 50;

#[derive(Template)]
#[template(path = "console/dead_letter_list.html")]
struct ListPage {
    frame: Frame,
    t: &'static Texts,
    filters: Filters,
    rows: Vec<DeadLetterRow>,
    why: Option<(&'static str, &'static str)>,
    older: Option<String>,
    newest: Option<String>,
    replay: String,
    is_parked: bool,
}

pub async fn list(app: &Console, viewer: &Viewer, filters: Filters) -> Result<Response, Fault> {
    let state = filters.get("state").and_then(DeadLetterState::parse).unwrap_or(DeadLetterState::Parked);
    let filter = DeadLetterFilter {
        merchants: viewer.among(filters.get("merchant"))?,
        state: Some(state),
        reason: filters.owned("reason"),
        consumer: filters.owned("consumer"),
        order_no: filters.owned("order_no"),
        event_id: filters.owned("event_id"),
        from: filters.day("from", false),
        to: filters.day("to", true),
        before_id: filters.get("after").and_then(|text| cursor::read('d', text).ok()),
    };
    let found = dead_letters::list(&app.store, &filter, LIMIT).await?;
    let t = Texts::of(app.lang);
    let reason = filters.get("reason");
    let class = reason.and_then(ReasonClass::parse);
    let title = reason.map_or_else(|| t.title.to_owned(), |reason| format!("{}: {reason}", t.title));
    let of_reason = reason.map(|reason| ("reason_class", reason));
    page(&ListPage {
        frame: Frame::new(app, viewer, Place::DeadLetters, title),
        t,
        why: class.map(|class| (reasons::sentence(class, app.lang), reasons::mend(class, app.lang))),
        older: found.next.map(|next| filters.with(PATH, "after", &cursor::write('d', next))),
        newest: filters.get("after").map(|_| filters.with(PATH, "after", "")),
        replay: links::plan([("kind", "dead_letter")].into_iter().chain(of_reason)),
        is_parked: state == DeadLetterState::Parked,
        filters,
        rows: found.rows,
    })
}

/// A dead letter's state.
pub fn status(state: DeadLetterState) -> Status {
    match state {
        DeadLetterState::Parked => Status::Parked,
        DeadLetterState::Replayed => Status::Replayed,
        DeadLetterState::Discarded => Status::Discarded,
    }
}

impl ListPage {
    fn tabs(&self) -> [(&'static str, &'static str, String); 3] {
        let t = self.t;
        [("parked", t.tab_parked), ("replayed", t.tab_replayed), ("discarded", t.tab_discarded)]
            .map(|(name, words)| (name, words, self.filters.with_first(PATH, "state", name)))
    }

    fn is_tab(&self, name: &str) -> bool {
        self.filters.get("state").unwrap_or("parked") == name
    }

    fn badge(&self, row: &DeadLetterRow) -> Badge {
        self.frame.badge(status(row.state))
    }

    fn link(&self, row: &DeadLetterRow) -> String {
        links::dead_letter(row.id)
    }

    fn order(&self, row: &DeadLetterRow) -> Option<Id> {
        let order_no = row.order_no.as_ref()?;
        Some(match row.merchant() {
            Some(merchant) => self.frame.id(links::order(merchant, order_no), order_no),
            None => self.frame.plain_id(order_no),
        })
    }
}

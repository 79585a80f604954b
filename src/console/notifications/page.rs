//! `GET /console/notifications/{id}`: with its elements, masked, its headers and what it changed.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use serde_json::Value;

use super::words::{Texts, kind, verdict};
use crate::console::dead_letters::reasons;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::state::Console;
use crate::console::ui::curl;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::viewer::Viewer;
use crate::ops::reason::ReasonClass;
use crate::ops::{mask, notifications};
use crate::secret::sha256_hex;
use crate::store::{Archived, ArchivedRow};

#[derive(Template)]
#[template(path = "console/notification.html")]
struct NotificationPage {
    frame: Frame,
    t: &'static Texts,
    facts: Facts,
    why: Option<(&'static str, &'static str)>,
    /// Names and values; none where it cannot be parsed.
    elements: Option<Vec<(String, String)>>,
    headers: Vec<(String, String)>,
    changes: Vec<(i64, String)>,
    bytes: usize,
    hash: String,
    curl: Option<String>,
    replay: String,
    found: Archived,
}

pub async fn get(app: Console, viewer: Viewer, Path(id): Path<String>) -> Result<Response, Fault> {
    let found = notifications::view(&app.store, &viewer.operator(), &id, app.clock.now()).await?;
    let found = found.ok_or(Fault::NotFound)?;
    let t = Texts::of(app.lang);
    let frame = Frame::new(&app, &viewer, Place::Notifications, format!("{} {id}", t.one));
    let class = found.row.reason.as_deref().and_then(ReasonClass::parse);
    let shown = mask::notification(&found.body);
    let changes = found.changes.iter().map(|change| {
        let fact = mask::message(change.fact.as_bytes()).unwrap_or(Value::Null);
        (change.version, serde_json::to_string_pretty(&fact).unwrap_or_default())
    });
    let headers = found.headers.iter().filter(|(name, _)| mask::is_header_shown(name)).cloned().collect();
    page(&NotificationPage {
        facts: facts(&frame, t, &found.row),
        why: class.map(|class| (reasons::sentence(class, app.lang), reasons::mend(class, app.lang))),
        elements: shown.as_ref().map(elements),
        headers,
        changes: changes.collect(),
        bytes: found.body.len(),
        hash: sha256_hex(&found.body),
        curl: shown.as_ref().map(|shown| curl::notification(&found.row, shown)),
        replay: plan_of(&found.row),
        frame,
        t,
        found,
    })
}

/// The plan of this one alone.
fn plan_of(row: &ArchivedRow) -> String {
    let refused = (row.verdict == "refused").then_some(("refused", "1"));
    let merchant = ("merchant", row.merchant.as_str());
    links::plan([("kind", "notification"), ("ids", row.id.as_str()), merchant].into_iter().chain(refused))
}

/// The elements of a masked message.
pub fn elements(shown: &Value) -> Vec<(String, String)> {
    let members = shown.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn facts(frame: &Frame, t: &'static Texts, row: &ArchivedRow) -> Facts {
    let order = row.order_no.as_ref();
    let found = |text: &Option<String>| {
        let text = text.as_ref()?;
        Some(Cell::Id(frame.id(links::orders_with(text), text)))
    };
    let rows = [
        (frame.w.merchant, Some(Cell::Text(row.merchant.clone()))),
        (t.kind, row.kind.as_deref().map(|name| Cell::Text(kind(name, frame.lang).to_owned()))),
        (frame.w.order, order.map(|no| Cell::Id(frame.id(links::order(&row.merchant, no), no)))),
        (t.out_trade_no, found(&row.out_trade_no)),
        (t.transaction, found(&row.transaction_id)),
        (t.received, Some(Cell::Time(frame.time(&row.received_at)))),
        (t.processed, row.processed_at.map(|at| Cell::Time(frame.moment(&at)))),
        (t.verified_by, Some(row.verified_by.as_ref().map_or(Cell::None, |key| Cell::Code(key.clone())))),
        (t.from_addr, Some(Cell::Code(row.remote_addr.clone()))),
        (t.copies, (row.copies > 1).then(|| Cell::Text(row.copies.to_string()))),
        (t.last, (row.copies > 1).then(|| Cell::Time(frame.moment(&row.last_received_at)))),
        ("id", Some(Cell::Id(frame.plain_id(&row.id)))),
    ];
    Facts { rows: rows.into_iter().filter_map(|(label, cell)| Some((label, cell?))).collect() }
}

impl NotificationPage {
    fn badge(&self) -> Option<crate::console::ui::status::Badge> {
        verdict(&self.found.row.verdict).map(|status| self.frame.badge(status))
    }
}

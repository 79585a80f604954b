//! `GET /console/replays/{id}`: the plan and its predictions, or how far the replay is, and its items.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::list::{PATH, selection};
use super::progress::Progress;
use super::words::{Texts, kind, predicted, result, status};
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::ui::id::Id;
use crate::console::ui::status::{Badge, Status};
use crate::console::viewer::Viewer;
use crate::ops::replay::{View, get as read, items};
use crate::store::{ReplayItem, ReplayResult, ReplaySource, ReplayState};

/// Items of one page.
const LIMIT: u64 = 50;
/// Replays of more rows than this are confirmed by typing how many they are.
pub const TYPED_ABOVE: u64 = 100;

#[derive(Template)]
#[template(path = "console/replay.html")]
struct ReplayPage {
    frame: Frame,
    t: &'static Texts,
    filters: Filters,
    view: View,
    badge: Badge,
    facts: Facts,
    progress: Progress,
    items: Vec<ReplayItem>,
    next: Option<String>,
    first: Option<String>,
    path: String,
    is_typed: bool,
    audit: &'static str,
}

pub async fn get(app: Console, viewer: Viewer, Path(id): Path<String>, filters: Filters) -> Result<Response, Fault> {
    let operator = viewer.operator();
    let view = read(&app.store, &operator, &id).await.map_err(crate::http::Error::from)?;
    let of_result = filters.get("result").and_then(ReplayResult::parse);
    let after = filters.get("after").and_then(|text| text.parse().ok()).unwrap_or(0);
    let shown = items(&app.store, &operator, &id, (after, of_result, LIMIT)).await;
    let (items, next) = shown.map_err(crate::http::Error::from)?;
    let t = Texts::of(app.lang);
    let frame = Frame::new(&app, &viewer, Place::Replays, format!("{}: {}", t.one, kind(view.replay.kind, app.lang)));
    let path = format!("{PATH}/{id}");
    page(&ReplayPage {
        badge: frame.badge(status(view.replay.state)),
        facts: facts(&frame, t, &view),
        progress: Progress::of(&view, frame.now, app.lang),
        items,
        next: next.map(|n| filters.with(&path, "after", &n.to_string())),
        first: (after > 0).then(|| filters.with(&path, "after", "")),
        is_typed: view.replay.total > TYPED_ABOVE,
        audit: "/console/audit?action=replay.start",
        path,
        frame,
        t,
        filters,
        view,
    })
}

fn facts(frame: &Frame, t: &'static Texts, view: &View) -> Facts {
    let replay = &view.replay;
    let selection = Some(selection(replay)).filter(|text| !text.is_empty());
    let rows = [
        (t.selection, Some(Cell::text(selection))),
        (t.why, Some(Cell::Text(replay.reason.clone()))),
        (t.planned_by, Some(Cell::Text(replay.planned_by.clone()))),
        (t.planned, Some(Cell::Time(frame.time(&replay.created_at)))),
        (t.started_by, replay.started_by.clone().map(Cell::Text)),
        (t.started, replay.started_at.map(|at| Cell::Time(frame.time(&at)))),
        (t.ended, replay.ended_at.map(|at| Cell::Time(frame.time(&at)))),
        (t.rate, Some(Cell::Text(replay.rate_per_second.to_string()))),
        ("id", Some(Cell::Id(frame.plain_id(&replay.id)))),
    ];
    Facts { rows: rows.into_iter().filter_map(|(label, cell)| Some((label, cell?))).collect() }
}

/// A line of the tables of predictions and results: the state, the reason, how many.
type Count = (Badge, String, u64);

impl ReplayPage {
    fn is_planned(&self) -> bool {
        self.view.replay.state == ReplayState::Planned
    }

    fn is_running(&self) -> bool {
        self.view.replay.state == ReplayState::Running
    }

    fn is_paused(&self) -> bool {
        self.view.replay.state == ReplayState::Paused
    }

    fn counts(
        &self,
        rows: [(Status, u64); 2],
        failed: (Status, &std::collections::BTreeMap<String, u64>),
    ) -> Vec<Count> {
        let badge = |status| self.frame.badge(status);
        let plain = rows.into_iter().map(|(status, count)| (badge(status), String::new(), count));
        let failed = failed.1.iter().map(|(reason, count)| (badge(failed.0), reason.clone(), *count));
        plain.chain(failed).filter(|(_, _, count)| *count > 0).collect()
    }

    fn predictions(&self) -> Vec<Count> {
        let counts = &self.view.counts;
        let rows = [(Status::WouldSettle, counts.would_settle), (Status::NoOp, counts.no_op)];
        self.counts(rows, (Status::StillFails, &counts.still_fails))
    }

    fn results(&self) -> Vec<Count> {
        let counts = &self.view.counts;
        let rows = [(Status::Settled, counts.settled), (Status::NoOp, counts.did_nothing)];
        self.counts(rows, (Status::Broken, &counts.failed))
    }

    fn predicted_of(&self, item: &ReplayItem) -> Badge {
        self.frame.badge(predicted(item.predicted))
    }

    fn result_of(&self, item: &ReplayItem) -> Option<Badge> {
        item.result.map(|name| self.frame.badge(result(name)))
    }

    fn item(&self, item: &ReplayItem) -> Id {
        let id = &item.source_id;
        match item.source {
            ReplaySource::Notification | ReplaySource::Refused | ReplaySource::Sample => {
                self.frame.id(links::notification(id), id)
            }
            ReplaySource::DeadLetter => self.frame.id(links::dead_letter(id), id),
            ReplaySource::Event | ReplaySource::Webhook => self.frame.plain_id(id),
        }
    }

    fn number(&self, number: &str) -> Id {
        self.frame.id(links::orders_with(number), number)
    }

    fn is_tab(&self, name: &str) -> bool {
        self.filters.text("result") == name
    }

    fn tabs(&self) -> [(&'static str, &'static str, String); 4] {
        let t = self.t;
        [("", self.frame.w.all), ("settled", t.settled), ("no_op", t.no_op), ("failed", t.failed)]
            .map(|(name, words)| (name, words, self.filters.with_first(&self.path, "result", name)))
    }
}

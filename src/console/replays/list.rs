//! `GET /console/replays`: newest first.

use askama::Template;
use axum::response::Response;
use serde_json::Value;

use super::words::{Texts, kind, status};
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::choice::Choice;
use crate::console::ui::status::Badge;
use crate::console::viewer::Viewer;
use crate::ops::replay;
use crate::store::{Replay, ReplayState};

pub const PATH: &str = "/console/replays";
const LIMIT: u64 = 50;

#[derive(Template)]
#[template(path = "console/replays.html")]
struct ReplaysPage {
    frame: Frame,
    t: &'static Texts,
    filters: Filters,
    rows: Vec<Replay>,
    older: Option<String>,
    newest: Option<String>,
}

pub async fn list(app: Console, viewer: Viewer, filters: Filters) -> Result<Response, Fault> {
    let state = filters.get("state").and_then(ReplayState::parse);
    let found = replay::list(&app.store, &viewer.operator(), (state, filters.owned("after"), LIMIT)).await?;
    let t = Texts::of(app.lang);
    page(&ReplaysPage {
        frame: Frame::new(&app, &viewer, Place::Replays, t.title),
        t,
        older: found.next.as_ref().map(|next| filters.with(PATH, "after", next)),
        newest: filters.get("after").map(|_| filters.with(PATH, "after", "")),
        filters,
        rows: found.rows,
    })
}

/// What was selected, in a few words.
pub fn selection(replay: &Replay) -> String {
    let select: Value = serde_json::from_str(&replay.selection).unwrap_or_default();
    let mut parts = Vec::new();
    if select["refused"] == true {
        parts.push("refused".to_owned());
    }
    match select["ids"].as_array().map(Vec::as_slice) {
        None | Some([]) => {}
        Some([one]) => parts.push(one.as_str().unwrap_or_default().to_owned()),
        Some(ids) => parts.push(format!("{} ids", ids.len())),
    }
    for name in ["order_no", "reason_class", "from", "to"] {
        if let Some(text) = select[name].as_str() {
            parts.push(format!("{name} {text}"));
        }
    }
    let merchants = select["merchants"].as_array().into_iter().flatten().filter_map(Value::as_str);
    parts.extend(merchants.map(str::to_owned));
    parts.join(" · ")
}

impl ReplaysPage {
    fn states(&self) -> Choice {
        let word = |state: &ReplayState| status(*state).word(self.frame.lang).to_owned();
        let options = ReplayState::ALL.iter().map(|state| (state.as_str().to_owned(), word(state)));
        Choice {
            name: "state",
            label: self.frame.w.state,
            all: self.frame.w.all,
            options: options.collect(),
            chosen: self.filters.text("state").to_owned(),
        }
    }

    fn badge(&self, row: &Replay) -> Badge {
        self.frame.badge(status(row.state))
    }

    fn kind(&self, row: &Replay) -> &'static str {
        kind(row.kind, self.frame.lang)
    }

    fn selection(&self, row: &Replay) -> String {
        selection(row)
    }

    fn link(&self, row: &Replay) -> String {
        links::replay(&row.id)
    }
}

//! What is to be replayed: the form, and the plan that it makes.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::words::{Texts, kind};
use crate::clock::Timestamp;
use crate::console::fault::Fault;
use crate::console::form::{Fields, Posted};
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::orders::seen;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::choice::Choice;
use crate::console::ui::reason;
use crate::console::viewer::Viewer;
use crate::ids::OrderNo;
use crate::ops::reason::ReasonClass;
use crate::ops::replay::{DEFAULT_RATE, MAX_RATE, ReplayError, Request, plan as make};
use crate::store::{ReplayKind, ReplaySelect, Right};

/// Ids of one selection.
const MAX_IDS: usize = 1000;

#[derive(Template)]
#[template(path = "console/plan.html")]
struct PlanPage {
    frame: Frame,
    t: &'static Texts,
    filters: Filters,
    merchants: Vec<String>,
    kinds: Vec<(&'static str, &'static str, bool)>,
    ids: String,
    rate: String,
    max_rate: u32,
    /// What is wrong with what was entered.
    problem: Option<String>,
}

/// `GET /console/replays/new?kind=…`: the form, with what the page before selected.
pub async fn ask(app: Console, viewer: Viewer, filters: Filters) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    page(&form(&app, &viewer, filters, None))
}

fn form(app: &Console, viewer: &Viewer, filters: Filters, problem: Option<String>) -> PlanPage {
    let t = Texts::of(app.lang);
    let chosen = filters.get("kind").and_then(ReplayKind::parse).unwrap_or(ReplayKind::Notification);
    let kinds = ReplayKind::ALL.iter().map(|name| (name.as_str(), kind(*name, app.lang), *name == chosen)).collect();
    let ids: Vec<&str> = filters.all("ids").collect();
    PlanPage {
        frame: Frame::new(app, viewer, Place::Replays, t.new),
        t,
        merchants: seen(app, viewer),
        kinds,
        ids: ids.join("\n"),
        rate: filters.owned("rate").unwrap_or_else(|| DEFAULT_RATE.to_string()),
        max_rate: MAX_RATE,
        problem,
        filters,
    }
}

/// `POST /console/replays`: makes the plan and shows it. What cannot be used is shown again, with all that was entered.
pub async fn plan(app: Console, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    match planned(&app, &viewer, &fields).await {
        Ok(id) => Ok(Redirect::to(&links::replay(&id)).into_response()),
        Err(Fault::Unusable(problem)) => {
            let shown = form(&app, &viewer, Filters::of_fields(fields.pairs()), Some(problem));
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&shown)?).into_response())
        }
        Err(other) => Err(other),
    }
}

/// The id of the plan.
async fn planned(app: &Console, viewer: &Viewer, fields: &Fields) -> Result<String, Fault> {
    let t = Texts::of(app.lang);
    let reason = reason::check(fields.get("reason"), app.lang).map_err(|text| Fault::Unusable(text.to_owned()))?;
    let rate = fields.get("rate").and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_RATE);
    let select = select(viewer, fields, t)?;
    let request = Request { select, reason, rate_per_second: rate.clamp(1, MAX_RATE) };
    let view = make(app.tools(), &viewer.operator(), request).await.map_err(|e| match e {
        ReplayError::TooMany => Fault::Unusable(t.too_many.to_owned()),
        other => crate::http::Error::from(other).into(),
    })?;
    Ok(view.replay.id)
}

/// What is selected. A field that cannot be read is refused: left out, it would select more.
fn select(viewer: &Viewer, fields: &Fields, t: &'static Texts) -> Result<ReplaySelect, Fault> {
    let unusable = |field: &str| Fault::Unusable(format!("{}: {field}", t.unreadable));
    let kind = fields.get("kind").and_then(ReplayKind::parse).ok_or_else(|| unusable(t.kind))?;
    let ids: Vec<&str> = fields.get("ids").unwrap_or_default().split_whitespace().collect();
    let is_id = |id: &&str| id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if ids.len() > MAX_IDS || !ids.iter().all(is_id) {
        return Err(unusable(t.ids));
    }
    let time = |name: &str, label: &str| match fields.get(name) {
        Some(text) => moment(text).map(Some).ok_or_else(|| unusable(label)),
        None => Ok(None),
    };
    let order_no = match fields.get("order_no") {
        Some(text) => Some(OrderNo::parse(text).map_err(|_| unusable(t.order_no))?.into()),
        None => None,
    };
    Ok(ReplaySelect {
        kind,
        ids: ids.into_iter().map(str::to_owned).collect(),
        refused: kind == ReplayKind::Notification && fields.get("refused").is_some(),
        merchants: viewer.among(fields.get("merchant"))?,
        reason_class: fields.get("reason_class").filter(|_| kind != ReplayKind::Event).map(str::to_owned),
        order_no,
        from: time("from", t.from)?,
        to: time("to", t.to)?,
    })
}

/// A field of date and time (`2026-01-02T03:04`) in Beijing; a day alone is its begin.
fn moment(text: &str) -> Option<Timestamp> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    Timestamp::parse_beijing(&format!("{digits:0<14}")).ok()
}

impl PlanPage {
    fn merchant_choice(&self) -> Choice {
        let options = self.merchants.iter().map(|key| (key.clone(), key.clone()));
        self.choice("merchant", self.frame.w.merchant, options.collect())
    }

    fn reason_classes(&self) -> Choice {
        let options = ReasonClass::ALL.iter().map(|class| (class.as_str().to_owned(), class.as_str().to_owned()));
        self.choice("reason_class", self.t.reason_class, options.collect())
    }

    fn choice(&self, name: &'static str, label: &'static str, options: Vec<(String, String)>) -> Choice {
        Choice { name, label, all: self.frame.w.all, options, chosen: self.filters.text(name).to_owned() }
    }

    /// For a field of date and time: a day begins at midnight.
    fn at(&self, name: &str) -> String {
        let text = self.filters.text(name);
        if text.len() == 10 { format!("{text}T00:00") } else { text.to_owned() }
    }
}

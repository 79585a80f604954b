//! `GET /console/webhooks/{id}`: one endpoint, its deliveries, or its attempts with request and answer.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::words::{Texts, cause, delivery, outcome, rate, state};
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::ui::id::Id;
use crate::console::ui::status::Badge;
use crate::console::viewer::Viewer;
use crate::ops::webhooks;
use crate::ops::webhooks::View;
use crate::store::{DeliveryState, DisabledReason, EndpointFormat, EndpointState, WebhookAttempt, WebhookDelivery};

const LIMIT: u64 = 50;

#[derive(Template)]
#[template(path = "console/webhook.html")]
pub struct WebhookPage {
    frame: Frame,
    t: &'static Texts,
    path: String,
    view: View,
    facts: Facts,
    query: Filters,
    deliveries: Vec<WebhookDelivery>,
    attempts: Vec<WebhookAttempt>,
    older: Option<String>,
    newest: Option<String>,
    /// What is wrong with a change that was sent, and what was entered.
    refused: Option<(String, Filters)>,
}

pub async fn get(app: Console, Path(id): Path<String>, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    page(&shown(&app, &viewer, &id, query, None).await?)
}

/// The page, with what is wrong with a change where one was sent.
pub async fn shown(
    app: &Console,
    viewer: &Viewer,
    id: &str,
    query: Filters,
    refused: Option<(String, Filters)>,
) -> Result<WebhookPage, Fault> {
    let t = Texts::of(app.lang);
    let operator = viewer.operator();
    let view = webhooks::get(&app.store, &operator, id).await.map_err(crate::http::Error::from)?;
    let before = query.get("after").and_then(|text| text.parse().ok());
    let path = links::webhook(&view.endpoint.id);
    let (mut deliveries, mut attempts) = (Vec::new(), Vec::new());
    let next = if query.get("tab") == Some("attempts") {
        let of = query.get("delivery").and_then(|text| text.parse().ok());
        let found = webhooks::attempts(&app.store, &operator, id, (of, before, LIMIT)).await;
        let found = found.map_err(crate::http::Error::from)?;
        attempts = found.rows;
        found.next
    } else {
        let state = query.get("state").and_then(DeliveryState::parse);
        let found = webhooks::deliveries(&app.store, &operator, id, (state, before, LIMIT)).await;
        let found = found.map_err(crate::http::Error::from)?;
        deliveries = found.rows;
        found.next
    };
    let frame = Frame::new(app, viewer, Place::Webhooks, t.endpoint);
    Ok(WebhookPage {
        facts: facts(&frame, t, &view),
        older: next.map(|next| query.with(&path, "after", &next.to_string())),
        newest: query.get("after").map(|_| query.with(&path, "after", "")),
        frame,
        t,
        path,
        view,
        query,
        deliveries,
        attempts,
        refused,
    })
}

fn facts(frame: &Frame, t: &'static Texts, view: &View) -> Facts {
    let (endpoint, health) = (&view.endpoint, &view.health);
    let time = |at: Option<crate::clock::Timestamp>| at.map_or(Cell::None, |at| Cell::Time(frame.time(&at)));
    let why = endpoint.disabled_reason.map(|reason| match reason {
        DisabledReason::Operator => t.why_operator,
        DisabledReason::Gone => t.why_gone,
        DisabledReason::Failing => t.why_failing,
    });
    let events =
        if endpoint.event_types.is_empty() { t.all_events.to_owned() } else { endpoint.event_types.join(", ") };
    let rate = rate(health.succeeded, health.attempts);
    Facts {
        rows: vec![
            (frame.w.state, Cell::Badge(frame.badge(state(endpoint.state)))),
            (t.disabled_at, time(endpoint.disabled_at)),
            (t.why, Cell::text(why)),
            (t.merchant, Cell::Text(endpoint.merchant.to_string())),
            (t.url, Cell::Code(endpoint.url.clone())),
            (t.description, Cell::Text(endpoint.description.clone())),
            (t.taken, Cell::Text(events)),
            (t.rate, Cell::Text(format!("{rate} ({} {})", t.of_last, health.attempts))),
            (t.pending, Cell::Text(health.pending.to_string())),
            (t.failed, Cell::Text(health.failed.to_string())),
            (t.next_at, time(health.next_at.filter(|_| endpoint.state == EndpointState::Enabled))),
            (t.last_at, time(health.last_attempt_at)),
            (t.failing_since, time(endpoint.failing_since)),
            (t.created_by, Cell::Text(endpoint.created_by.clone())),
        ],
    }
}

impl WebhookPage {
    fn is_enabled(&self) -> bool {
        self.view.endpoint.state == EndpointState::Enabled
    }

    /// A robot has none of ours.
    fn has_secret(&self) -> bool {
        self.view.endpoint.format == EndpointFormat::Events
    }

    fn problem(&self) -> Option<&str> {
        self.refused.as_ref().map(|(problem, _)| problem.as_str())
    }

    /// What the form has: what was entered, or what the endpoint has.
    fn entered(&self, name: &str) -> String {
        let endpoint = &self.view.endpoint;
        match (&self.refused, name) {
            (Some((_, entered)), _) => entered.text(name).to_owned(),
            (None, "url") => endpoint.url.clone(),
            (None, "description") => endpoint.description.clone(),
            (None, "events") => endpoint.event_types.iter().map(|of| self.short(of)).collect::<Vec<_>>().join("\n"),
            (None, _) => String::new(),
        }
    }

    fn is_attempts(&self) -> bool {
        self.query.get("tab") == Some("attempts")
    }

    fn badge(&self, row: &WebhookDelivery) -> Badge {
        self.frame.badge(delivery(row.state))
    }

    fn event(&self, id: &str) -> Id {
        self.frame.plain_id(id)
    }

    fn order(&self, order_no: &str) -> Id {
        self.frame.id(links::order(&self.view.endpoint.merchant, order_no), order_no)
    }

    fn attempts_of(&self, row: &WebhookDelivery) -> String {
        format!("{}?tab=attempts&delivery={}", self.path, row.id)
    }

    /// The form of a replay of one delivery.
    fn replay_of(&self, row: &WebhookDelivery) -> String {
        links::plan([("kind", "webhook"), ("ids", row.id.to_string().as_str())])
    }

    fn outcome<'a>(&self, name: &'a str) -> &'a str {
        outcome(name, self.frame.lang)
    }

    fn cause<'a>(&self, name: &'a str) -> &'a str {
        cause(name, self.frame.lang)
    }

    /// Whether the attempts of one delivery alone are shown.
    fn is_of_one(&self) -> bool {
        self.query.get("delivery").is_some()
    }

    fn short<'a>(&self, event_type: &'a str) -> &'a str {
        event_type.trim_start_matches("wxpay.").trim_end_matches(".v1")
    }

    /// The states of the tabs: the value, the word, and whether it is shown.
    fn tabs(&self) -> Vec<(String, &'static str, bool)> {
        let chosen = self.query.get("state").and_then(DeliveryState::parse).filter(|_| !self.is_attempts());
        let all = (self.path.clone(), self.t.deliveries, chosen.is_none() && !self.is_attempts());
        let of = |name: DeliveryState| {
            let word = delivery(name).word(self.frame.lang);
            (format!("{}?state={}", self.path, name.as_str()), word, chosen == Some(name))
        };
        let attempts = (format!("{}?tab=attempts", self.path), self.t.attempts, self.is_attempts());
        let states = [DeliveryState::Pending, DeliveryState::Failed, DeliveryState::Delivered].map(of);
        std::iter::once(all).chain(states).chain([attempts]).collect()
    }
}

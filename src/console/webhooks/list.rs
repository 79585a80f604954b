//! `GET /console/webhooks`: the endpoints, newest first, and the form of a new one.

use askama::Template;
use axum::response::Response;

use super::words::{Texts, rate, state};
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::status::Badge;
use crate::console::viewer::Viewer;
use crate::ops::webhooks;
use crate::ops::webhooks::View;
use crate::store::EndpointState;

pub const PATH: &str = "/console/webhooks";
const LIMIT: u64 = 50;

#[derive(Template)]
#[template(path = "console/webhooks.html")]
pub struct WebhooksPage {
    frame: Frame,
    t: &'static Texts,
    query: Filters,
    merchants: Vec<String>,
    rows: Vec<View>,
    older: Option<String>,
    newest: Option<String>,
    /// What is wrong with what was entered.
    problem: Option<String>,
}

pub async fn get(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    page(&shown(&app, &viewer, query, None).await?)
}

/// The page, with what is wrong with the form where that was sent.
pub async fn shown(
    app: &Console,
    viewer: &Viewer,
    query: Filters,
    problem: Option<String>,
) -> Result<WebhooksPage, Fault> {
    // Of a form that was sent, the merchant is the new endpoint's.
    let merchants = viewer.among(query.get("merchant").filter(|_| problem.is_none()))?;
    let range = (query.get("after"), LIMIT);
    let found = webhooks::list(&app.store, &viewer.operator(), merchants.as_deref(), range).await?;
    let t = Texts::of(app.lang);
    Ok(WebhooksPage {
        frame: Frame::new(app, viewer, Place::Webhooks, t.title),
        t,
        merchants: viewer.merchant_names(&app.config),
        older: found.next.as_ref().map(|next| query.with(PATH, "after", next)),
        newest: query.get("after").map(|_| query.with(PATH, "after", "")),
        rows: found.rows,
        query,
        problem,
    })
}

impl WebhooksPage {
    fn badge(&self, view: &View) -> Badge {
        self.frame.badge(state(view.endpoint.state))
    }

    fn is_enabled(&self, view: &View) -> bool {
        view.endpoint.state == EndpointState::Enabled
    }

    fn link(&self, view: &View) -> String {
        links::webhook(&view.endpoint.id)
    }

    fn rate(&self, view: &View) -> String {
        rate(view.health.succeeded, view.health.attempts)
    }
}

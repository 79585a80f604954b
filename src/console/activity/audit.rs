//! `GET /console/audit`: who did what, from where, why, and with which result.

use askama::Template;
use axum::response::Response;

use super::words::ActivityWords;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::viewer::Viewer;
use crate::ops;
use crate::store::{AuditFilter, AuditRow};

const PATH: &str = "/console/audit";
const LIMIT: u64 = 50;

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    frame: Frame,
    t: &'static ActivityWords,
    query: Filters,
    merchants: Vec<String>,
    rows: Vec<AuditRow>,
    older: Option<String>,
}

pub async fn get(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    let t = ActivityWords::of(app.lang);
    let filter = AuditFilter {
        merchants: viewer.among(query.get("merchant"))?,
        actor: query.owned("actor"),
        action: query.owned("action"),
        order_no: query.owned("order_no"),
        transaction_id: query.owned("transaction_id"),
        result: query.owned("result"),
        from: query.day("from", false),
        to: query.day("to", true),
        before_id: query.get("before").and_then(|id| id.parse().ok()),
    };
    let found = ops::audit::list(&app.store, &filter, LIMIT).await?;
    let older = found.next.map(|id| query.with(PATH, "before", &id.to_string()));
    let merchants = viewer.merchant_names(&app.config);
    let frame = Frame::new(&app, &viewer, Place::Audit, t.audit_title);
    page(&AuditPage { frame, t, query, merchants, rows: found.rows, older })
}

impl AuditPage {
    fn path(&self) -> &'static str {
        PATH
    }

    fn link(&self, row: &AuditRow) -> String {
        match (&row.merchant, &row.order_no) {
            (Some(merchant), Some(order_no)) => links::order(merchant, order_no),
            _ => String::new(),
        }
    }
}

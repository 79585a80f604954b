//! `GET /console/refunds`: refunds, newest first.

use askama::Template;
use axum::response::Response;

use super::words::MoneyWords;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::money::Money;
use crate::console::ui::status::Status;
use crate::console::viewer::Viewer;
use crate::refund::{RefundOrigin, RefundState};
use crate::store::StoredRefund;

const PATH: &str = "/console/refunds";
const LIMIT: u64 = 50;

#[derive(Template)]
#[template(path = "console/refunds.html")]
struct RefundsPage {
    frame: Frame,
    t: &'static MoneyWords,
    query: Filters,
    merchants: Vec<String>,
    rows: Vec<StoredRefund>,
    /// Of the page, in CNY.
    total: i64,
    older: Option<String>,
}

pub async fn get(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    let t = MoneyWords::of(app.lang);
    let merchants = viewer.among(query.get("merchant"))?;
    let state = query.get("state").and_then(RefundState::parse);
    let before = query.get("before").and_then(|id| id.parse().ok());
    let rows = app.store.refunds(merchants.as_deref(), state, before, LIMIT).await?;
    let last = rows.last().filter(|_| rows.len() as u64 == LIMIT);
    let older = last.map(|last| query.with(PATH, "before", &last.refund.id.to_string()));
    let total =
        -rows.iter().filter(|row| row.refund.currency == "CNY").map(|row| row.refund.amount.as_i64()).sum::<i64>();
    let merchants = viewer.merchant_names(&app.config);
    let frame = Frame::new(&app, &viewer, Place::Refunds, t.refunds_title);
    page(&RefundsPage { frame, t, query, merchants, rows, total, older })
}

impl RefundsPage {
    fn path(&self) -> &'static str {
        PATH
    }

    /// The states to choose from: the value, the word, and whether it is chosen.
    fn states(&self) -> Vec<(&'static str, String, bool)> {
        let lang = self.frame.lang;
        let state = |state: &RefundState| {
            let (word, name) = (Status::from(*state).word(lang), state.as_str());
            let text = if lang.pick(word == name, true) { name.to_owned() } else { format!("{word} ({name})") };
            (name, text, self.query.is("state", name))
        };
        RefundState::ALL.iter().map(state).collect()
    }

    fn amount(&self, row: &StoredRefund) -> Money {
        self.frame.sum(-row.refund.amount.as_i64(), &row.refund.currency)
    }

    fn link(&self, row: &StoredRefund) -> String {
        let order_no = row.refund.order_no.as_ref();
        order_no.map(|order_no| links::order(&row.refund.merchant, order_no)).unwrap_or_default()
    }

    fn origin(&self, row: &StoredRefund) -> &'static str {
        match row.refund.origin {
            RefundOrigin::Api if row.requested_by.starts_with("user:") => self.t.origin_user,
            RefundOrigin::Api => self.t.origin_api,
            RefundOrigin::Policy => self.t.origin_policy,
            RefundOrigin::MerchantPlatform => self.t.origin_console,
        }
    }

    fn status(&self, row: &StoredRefund) -> Status {
        row.refund.state.into()
    }
}

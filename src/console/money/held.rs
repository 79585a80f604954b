//! `GET /console/held`: payments that wait for a person, newest first.

use askama::Template;
use axum::response::Response;

use super::words::MoneyWords;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::money::yuan;
use crate::console::viewer::Viewer;
use crate::order::{HeldReason, PaymentClass};
use crate::store::{PaymentFilter, StoredPayment};

const PATH: &str = "/console/held";
const LIMIT: u64 = 50;

#[derive(Template)]
#[template(path = "console/held.html")]
struct HeldPage {
    frame: Frame,
    t: &'static MoneyWords,
    query: Filters,
    merchants: Vec<String>,
    class: PaymentClass,
    rows: Vec<StoredPayment>,
    /// Of the page, in CNY.
    total: i64,
    older: Option<String>,
}

pub async fn get(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    let t = MoneyWords::of(app.lang);
    let class = match query.get("class").and_then(PaymentClass::parse) {
        Some(class @ PaymentClass::Unmatched) => class,
        _ => PaymentClass::Held,
    };
    let filter = PaymentFilter {
        merchants: viewer.among(query.get("merchant"))?,
        class: Some(class),
        before_id: query.get("before").and_then(|id| id.parse().ok()),
        ..PaymentFilter::default()
    };
    let rows = app.store.payments(&filter, LIMIT).await?;
    let last = rows.last().filter(|_| rows.len() as u64 == LIMIT);
    let older = last.map(|last| query.with(PATH, "before", &last.id.to_string()));
    let total = rows.iter().filter(|row| row.currency == "CNY").map(|row| row.amount.as_i64()).sum();
    let merchants = viewer.merchant_names(&app.config);
    let frame = Frame::new(&app, &viewer, Place::Held, t.held_title);
    page(&HeldPage { frame, t, query, merchants, class, rows, total, older })
}

impl HeldPage {
    fn path(&self) -> &'static str {
        PATH
    }

    fn classes(&self) -> [(PaymentClass, bool); 2] {
        [PaymentClass::Held, PaymentClass::Unmatched].map(|class| (class, class == self.class))
    }

    fn word(&self, class: &PaymentClass) -> &'static str {
        self.frame.class(class).word(self.frame.lang)
    }

    fn why(&self, row: &StoredPayment) -> &'static str {
        match row.reason {
            Some(HeldReason::Late) => self.t.why_late,
            Some(HeldReason::Twice) => self.t.why_twice,
            Some(HeldReason::BeforeOrder) => self.t.why_before,
            Some(HeldReason::Mismatched) => self.t.why_mismatched,
            None => "",
        }
    }

    /// What is of another currency is not shown as yuan.
    fn amount(&self, row: &StoredPayment) -> String {
        if row.currency == "CNY" { yuan(row.amount.as_i64()) } else { format!("{} {}", row.amount, row.currency) }
    }

    /// The form that gives a payment of no order back.
    fn refund_link(&self, row: &StoredPayment) -> Option<String> {
        let may = row.order_no.is_none() && row.reserved < row.amount && self.frame.may_refund();
        may.then(|| links::refund_of_payment(&row.merchant, &row.transaction_id))
    }

    /// The order's page; none for a payment of no order.
    fn link(&self, row: &StoredPayment) -> String {
        row.order_no.as_ref().map(|order_no| links::order(&row.merchant, order_no)).unwrap_or_default()
    }
}

//! `GET /console/reconciliation`: the days of a month, a column for each merchant.

use askama::Template;
use axum::response::Response;

use super::words::FinanceWords;
use crate::clock::Timestamp;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::status::Status;
use crate::console::viewer::Viewer;
use crate::ids::MerchantKey;
use crate::ops::reports::{DayRow, DayState, Month, PeriodView, period};
use crate::store::Right;

pub const PATH: &str = "/console/reconciliation";
/// Merchants of one page: each is a column.
const COLUMNS: usize = 12;

/// A merchant of the page, and its month.
struct Column {
    merchant: MerchantKey,
    period: PeriodView,
}

#[derive(Template)]
#[template(path = "console/reconciliation.html")]
struct CalendarPage {
    frame: Frame,
    t: &'static FinanceWords,
    query: Filters,
    merchants: Vec<String>,
    month: Month,
    columns: Vec<Column>,
    around: [(&'static str, String); 2],
    may_export: bool,
    may_close: bool,
    may_reopen: bool,
    is_over: bool,
}

/// The month that is asked for, or the one under way.
pub fn month_of(query: &Filters, now: Timestamp) -> Result<Month, Fault> {
    let asked = query.get("month").map_or_else(|| Month::of(now), Month::parse);
    asked.ok_or(Fault::NotFound)
}

pub fn status(state: DayState) -> Status {
    match state {
        DayState::Missing => Status::NoBill,
        DayState::NotDue => Status::NotDue,
        DayState::Pending | DayState::Running => Status::Reconciling,
        DayState::Balanced => Status::Balanced,
        DayState::Explained => Status::Explained,
        DayState::Red => Status::Differs,
        DayState::Failed => Status::Broken,
    }
}

pub async fn get(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    let t = FinanceWords::of(app.lang);
    let now = app.clock.now();
    let month = month_of(&query, now)?;
    let named = viewer.among(query.get("merchant"))?;
    let shown = app.config.merchants.iter().map(|merchant| &merchant.key);
    let shown = shown.filter(|key| named.as_ref().is_none_or(|named| named.contains(key))).take(COLUMNS);
    let mut columns = Vec::new();
    for merchant in shown {
        let period = period(&app.store, merchant, month.clone(), now).await?;
        columns.push(Column { merchant: merchant.clone(), period });
    }
    let beside = |at: Timestamp| Month::of(at).map(|month| query.with(PATH, "month", &month.text)).unwrap_or_default();
    let around = [
        (t.month_before, beside(Timestamp::from_ms(month.begins_at.as_ms() - 1))),
        (t.month_after, beside(month.ends_at)),
    ];
    page(&CalendarPage {
        frame: Frame::new(&app, &viewer, Place::Reconciliation, format!("{} {}", t.calendar_title, month.text)),
        t,
        merchants: viewer.merchant_names(&app.config),
        columns,
        around,
        may_export: viewer.may(Right::Export),
        may_close: viewer.may(Right::Accept),
        may_reopen: viewer.may(Right::Admin),
        is_over: month.ends_at <= now,
        month,
        query,
    })
}

impl CalendarPage {
    fn days(&self) -> Vec<&str> {
        let days = self.columns.first().map(|column| column.period.days.as_slice()).unwrap_or_default();
        days.iter().map(|row| row.day.as_str()).collect()
    }

    /// A merchant and its day, by the number of the day.
    fn cells(&self, n: &usize) -> Vec<(&MerchantKey, &DayRow)> {
        self.columns.iter().filter_map(|column| Some((&column.merchant, column.period.days.get(*n)?))).collect()
    }

    fn status(&self, row: &DayRow) -> Status {
        status(row.state)
    }

    /// Days of a merchant whose bill was never asked for.
    fn missing(&self, column: &Column) -> usize {
        let is_missing = |row: &&DayRow| row.state == DayState::Missing;
        column.period.days.iter().filter(is_missing).count()
    }

    /// The day's proof, or its books where it is not over.
    fn day(&self, merchant: &MerchantKey, row: &DayRow) -> String {
        if row.state == DayState::NotDue {
            links::ledger(merchant, &row.day)
        } else {
            links::reconciliation(merchant, &row.day)
        }
    }

    fn adjusted_day(&self, column: &Column, day: &str) -> String {
        links::reconciliation(&column.merchant, day)
    }

    fn order(&self, column: &Column, order_no: &str) -> String {
        links::order(&column.merchant, order_no)
    }

    fn lines(&self, merchant: &MerchantKey, row: &DayRow) -> String {
        format!("{PATH}/lines?merchant={merchant}&day={}&format=xlsx", row.day)
    }

    fn file(&self, kind: &str) -> String {
        let merchant = self.query.get("merchant").map(|name| format!("&merchant={name}")).unwrap_or_default();
        format!("{PATH}/export?month={}{merchant}&format={kind}", self.month.text)
    }

    fn close(&self, column: &Column) -> String {
        links::close_month(&column.merchant, &self.month.text)
    }

    fn reopen(&self, column: &Column) -> String {
        format!("{PATH}/reopen?merchant={}&month={}", column.merchant, self.month.text)
    }

    /// How many adjustments there are, also those that are not listed.
    fn adjusted_rows(&self, column: &Column) -> i64 {
        column.period.adjusted.values().map(|of| of.payments.saturating_add(of.refunds)).fold(0, i64::saturating_add)
    }

    fn is_cut(&self, column: &Column) -> bool {
        usize::try_from(self.adjusted_rows(column)).is_ok_and(|rows| rows > column.period.adjustments.len())
    }

    fn payments(&self, column: &Column) -> i64 {
        column.period.days.iter().map(|row| row.payments_fen).fold(0, i64::saturating_add)
    }

    fn refunds(&self, column: &Column) -> i64 {
        column.period.days.iter().map(|row| -row.refunds_fen).fold(0, i64::saturating_add)
    }
}

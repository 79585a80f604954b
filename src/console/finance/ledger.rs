//! `GET /console/ledger`: the books of a day, with the balances around it.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;

use super::words::{FinanceWords, entry_word};
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
use crate::ops::reports::{LedgerLine, LedgerPlace, ledger_page};
use crate::order::PaymentClass;
use crate::store::{BookRange, BookSum, Right};

pub const PATH: &str = "/console/ledger";
const LIMIT: u64 = 100;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// What a currency opened with, what was recorded, what it closed with.
struct Balance {
    currency: String,
    opening: i64,
    sums: Vec<BookSum>,
    closing: i64,
}

#[derive(Template)]
#[template(path = "console/ledger.html")]
struct LedgerPageView {
    frame: Frame,
    t: &'static FinanceWords,
    merchants: Vec<String>,
    merchant: String,
    day: String,
    balances: Vec<Balance>,
    lines: Vec<LedgerLine>,
    older: Option<String>,
    around: [(&'static str, String); 3],
    may_export: bool,
}

/// The merchant that is asked for, or the first one that is shown.
pub fn merchant_of(app: &Console, viewer: &Viewer, query: &Filters) -> Result<MerchantKey, Fault> {
    let named = viewer.among(query.get("merchant"))?.filter(|_| query.get("merchant").is_some());
    let first = || app.config.merchants.iter().map(|merchant| &merchant.key).find(|key| viewer.sees(key)).cloned();
    named.and_then(|merchants| merchants.into_iter().next()).or_else(first).ok_or(Fault::NotFound)
}

/// The day that is asked for, or today.
pub fn day_of(query: &Filters, now: Timestamp) -> Timestamp {
    let today = Timestamp::from_ms(now.next_beijing_midnight().as_ms() - DAY_MS);
    query.day("day", false).unwrap_or(today)
}

pub async fn get(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    let t = FinanceWords::of(app.lang);
    let merchant = merchant_of(&app, &viewer, &query)?;
    let begin = day_of(&query, app.clock.now());
    let range = BookRange { merchant: merchant.clone(), from: begin, to: begin.next_beijing_midnight() };
    let after = query.get("after").and_then(|text| LedgerPlace::parse(text).ok());
    let shown = ledger_page(&app.store, &range, after, LIMIT).await?;
    let balances = balances(&app, &range).await?;
    let day = begin.to_beijing_day();
    let at = |ms: i64| query.with_first(PATH, "day", &Timestamp::from_ms(ms).to_beijing_day());
    let around = [
        (t.before, at(begin.as_ms() - DAY_MS)),
        (t.today, query.with_first(PATH, "day", "")),
        (t.after, at(begin.as_ms() + DAY_MS)),
    ];
    page(&LedgerPageView {
        frame: Frame::new(&app, &viewer, Place::Ledger, format!("{} {day}", t.ledger_title)),
        t,
        merchants: viewer.merchant_names(&app.config),
        merchant: merchant.to_string(),
        day,
        balances,
        older: shown.next.as_ref().map(|next| query.with(PATH, "after", &next.to_text())),
        lines: shown.lines,
        around,
        may_export: viewer.may(Right::Export),
    })
}

async fn balances(app: &Console, range: &BookRange) -> Result<Vec<Balance>, Fault> {
    let opening = app.store.balances_before(&range.merchant, range.from).await?;
    let mut currencies: BTreeMap<String, (i64, Vec<BookSum>)> =
        opening.into_iter().map(|(currency, balance)| (currency, (balance, Vec::new()))).collect();
    for sum in app.store.book_sums(range).await? {
        currencies.entry(sum.currency.clone()).or_default().1.push(sum);
    }
    let balance = |(currency, (opening, sums)): (String, (i64, Vec<BookSum>))| {
        let closing = sums.iter().fold(opening, |balance, sum| balance.saturating_add(sum.change_fen));
        Balance { currency, opening, sums, closing }
    };
    Ok(currencies.into_iter().map(balance).collect())
}

impl LedgerPageView {
    fn link(&self, line: &LedgerLine) -> String {
        line.row.order_no.as_ref().map(|order_no| links::order(&self.merchant, order_no)).unwrap_or_default()
    }

    fn number<'a>(&self, line: &'a LedgerLine) -> &'a str {
        line.row.refund_no.as_deref().unwrap_or(&line.row.transaction_id)
    }

    fn entry<'a>(&self, entry: &'a str) -> &'a str {
        entry_word(entry, self.frame.lang)
    }

    fn adjusted(&self, day: &str) -> String {
        links::reconciliation(&self.merchant, day)
    }

    fn class(&self, class: &str) -> Status {
        PaymentClass::parse(class).map_or(Status::Unknown, Status::from)
    }

    /// The address of the day as a file.
    fn file(&self, kind: &str) -> String {
        format!("/console/ledger/export?merchant={}&day={}&format={kind}", self.merchant, self.day)
    }
}

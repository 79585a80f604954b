//! `GET` and `POST /console/reconciliation/close` and `…/reopen`: closing a month and reopening it, with the preview.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::calendar::{month_of, status};
use super::ledger::merchant_of;
use super::words::FinanceWords;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::ui::reason;
use crate::console::ui::status::Badge;
use crate::console::viewer::Viewer;
use crate::ids::MerchantKey;
use crate::ops::reports::{DayRow, Month, PeriodError, close_month, frozen_or_now, reopen_month};
use crate::store::Right;

/// What is done to a month.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Close,
    Reopen,
}

impl Verb {
    /// Reopening changes what was reported.
    const fn right(self) -> Right {
        match self {
            Verb::Close => Right::Accept,
            Verb::Reopen => Right::Admin,
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Verb::Close => "/console/reconciliation/close",
            Verb::Reopen => "/console/reconciliation/reopen",
        }
    }
}

/// A day that keeps the month open: its badge, the day, its page.
type OpenDay = (Badge, String, String);

#[derive(Template)]
#[template(path = "console/close_month.html")]
struct MonthPage {
    frame: Frame,
    t: &'static FinanceWords,
    facts: Facts,
    merchant: String,
    month: String,
    action: &'static str,
    word: &'static str,
    what: &'static str,
    /// Until these are settled it cannot be closed.
    open: Vec<OpenDay>,
    /// It is not over.
    is_ahead: bool,
    reason: String,
    problem: Option<String>,
    back: String,
}

async fn shown(
    app: &Console,
    viewer: &Viewer,
    (verb, merchant, month): (Verb, &MerchantKey, &Month),
    (reason, problem): (&str, Option<String>),
) -> Result<MonthPage, Fault> {
    let t = FinanceWords::of(app.lang);
    let (word, what) = match verb {
        Verb::Close => (t.close, t.will_close),
        Verb::Reopen => (t.reopen, t.will_reopen),
    };
    let frame = Frame::new(app, viewer, Place::Reconciliation, format!("{word} {}", month.text));
    let range = (month.begins_at, month.ends_at);
    let days = frozen_or_now(&app.store, merchant, range, app.clock.now()).await?;
    let open = if verb == Verb::Close { open_days(&frame, merchant, &days) } else { Vec::new() };
    let is_ahead = verb == Verb::Close && month.ends_at > frame.now;
    let (reason, back) = (reason.to_owned(), links::month(merchant, &month.text));
    Ok(MonthPage {
        facts: facts(&frame, t, (merchant, month), &days),
        frame,
        t,
        merchant: merchant.to_string(),
        month: month.text.clone(),
        action: verb.path(),
        word,
        what,
        open,
        is_ahead,
        reason,
        problem,
        back,
    })
}

fn open_days(frame: &Frame, merchant: &MerchantKey, days: &[DayRow]) -> Vec<OpenDay> {
    let today = frame.now.to_beijing_day();
    let open = days.iter().filter(|day| !day.state.is_settled() && day.day < today);
    let view =
        |day: &DayRow| (frame.badge(status(day.state)), day.day.clone(), links::reconciliation(merchant, &day.day));
    open.map(view).collect()
}

fn facts(frame: &Frame, t: &'static FinanceWords, (merchant, month): (&MerchantKey, &Month), days: &[DayRow]) -> Facts {
    let sum = |of: fn(&DayRow) -> i64| days.iter().map(of).fold(0, i64::saturating_add);
    let explained: Vec<&str> = days.iter().filter(|day| day.explained.is_some()).map(|day| day.day.as_str()).collect();
    let mut rows = vec![
        (frame.w.merchant, Cell::Text(merchant.to_string())),
        (t.month, Cell::Text(month.text.clone())),
        (t.payments, Cell::Money(frame.money(sum(|day| day.payments_fen)))),
        (t.refunds, Cell::Money(frame.money(-sum(|day| day.refunds_fen)))),
    ];
    if !explained.is_empty() {
        rows.push((t.explained_days, Cell::Text(explained.join(", "))));
    }
    Facts { rows }
}

/// The preview and the reason.
pub async fn ask(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    preview(&app, &viewer, &query, Verb::Close).await
}

/// The same of reopening.
pub async fn ask_reopen(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    preview(&app, &viewer, &query, Verb::Reopen).await
}

async fn preview(app: &Console, viewer: &Viewer, query: &Filters, verb: Verb) -> Result<Response, Fault> {
    viewer.require(verb.right())?;
    let merchant = merchant_of(app, viewer, query)?;
    let month = month_of(query, app.clock.now())?;
    page(&shown(app, viewer, (verb, &merchant, &month), ("", None)).await?)
}

/// Closes it, or says why not.
pub async fn close(app: Console, posted: Posted) -> Result<Response, Fault> {
    change(&app, &posted, Verb::Close).await
}

/// Reopens it, or says why not.
pub async fn reopen(app: Console, posted: Posted) -> Result<Response, Fault> {
    change(&app, &posted, Verb::Reopen).await
}

async fn change(app: &Console, Posted { viewer, fields }: &Posted, verb: Verb) -> Result<Response, Fault> {
    viewer.require(verb.right())?;
    let query = Filters::of_fields(fields.pairs());
    let merchant = merchant_of(app, viewer, &query)?;
    let month = month_of(&query, app.clock.now())?;
    let problem = match reason::check(fields.get("reason"), app.lang) {
        Err(problem) => problem.to_owned(),
        Ok(reason) => match changed(app, viewer, (verb, &merchant, &month), &reason).await? {
            Ok(says) => return Ok(flash::redirect(app.shared.jar, &links::month(&merchant, &month.text), says)),
            Err(problem) => problem,
        },
    };
    let entered = fields.get("reason").unwrap_or_default();
    let form = shown(app, viewer, (verb, &merchant, &month), (entered, Some(problem))).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&form)?).into_response())
}

/// What is said of it, or why it was not done.
async fn changed(
    app: &Console,
    viewer: &Viewer,
    (verb, merchant, month): (Verb, &MerchantKey, &Month),
    reason: &str,
) -> Result<Result<&'static str, String>, Fault> {
    let t = FinanceWords::of(app.lang);
    let (operator, about) = (viewer.operator(), (merchant, month));
    let (done, words, order) = match verb {
        Verb::Close => {
            let done = close_month(&app.store, &app.clock, &operator, about, reason).await;
            (done, (t.says_closed, t.says_already), t.out_of_order)
        }
        Verb::Reopen => {
            let done = reopen_month(&app.store, &app.clock, &operator, about, reason).await;
            (done, (t.says_reopened, t.says_was_open), t.reopen_order)
        }
    };
    Ok(match done {
        Ok(true) => Ok(words.0),
        Ok(false) => Ok(words.1),
        Err(PeriodError::Store(e)) => return Err(e.into()),
        Err(PeriodError::NotOver) => Err(t.not_over.to_owned()),
        Err(PeriodError::OutOfOrder { last }) => Err(format!("{order} {last}")),
        Err(PeriodError::OpenDays(days)) => {
            let days: Vec<&str> = days.iter().map(|(day, _)| day.as_str()).collect();
            Err(format!("{} {}", t.open_days, days.join(", ")))
        }
    })
}

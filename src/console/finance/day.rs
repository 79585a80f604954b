//! `GET /console/reconciliation/{merchant}/{day}`: the proof of a day and its lines by class; `POST …/lines/{id}`:
//! explains a line by a note.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::calendar;
use super::lines::{LineView, is_repairable};
use super::progress::Progress;
use super::words::{FinanceWords, class_word};
use crate::config::Merchant;
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
use crate::console::ui::status::Status;
use crate::console::viewer::Viewer;
use crate::ids::MerchantKey;
use crate::ops::reconciliation::{Resolved, is_explainable, line, lines, progress, resolve as explain};
use crate::ops::reports::{DayState, Proof, proof};
use crate::reconciliation::LineClass;
use crate::store::{Right, Work};
use crate::wechat::v2::bill::BillDay;

const LIMIT: u64 = 50;

/// A merchant and a day, as an address has them.
pub type Named = (String, String);

/// A day that was never asked for.
#[derive(Template)]
#[template(path = "console/reconciliation_missing.html")]
struct MissingPage {
    frame: Frame,
    t: &'static FinanceWords,
    merchant: String,
    path: String,
    ledger: String,
    /// The month's calendar.
    month: String,
    /// Whether its bill can be asked for.
    is_over: bool,
    /// Whether WeChat no longer has it.
    is_explainable: bool,
}

#[derive(Template)]
#[template(path = "console/reconciliation_day.html")]
struct DayPage {
    frame: Frame,
    t: &'static FinanceWords,
    query: Filters,
    proof: Proof,
    facts: Facts,
    progress: Option<Progress>,
    lines: Vec<LineView>,
    path: String,
    ledger: String,
    /// The month's calendar.
    month: String,
    first: Option<String>,
    next: Option<String>,
    may_export: bool,
    is_explainable: bool,
}

/// The merchant of an address, if the user sees it, and the day.
pub fn named<'a>(app: &'a Console, viewer: &Viewer, named: &Named) -> Result<(&'a Merchant, BillDay), Fault> {
    let merchant = app.config.merchant(&named.0).filter(|merchant| viewer.sees(&merchant.key));
    let day = BillDay::parse(&named.1).ok().filter(|day| day.to_string() == named.1);
    merchant.zip(day).ok_or(Fault::NotFound)
}

/// The result of a day; a fault where it was never asked for.
pub async fn found(app: &Console, viewer: &Viewer, named: &Named) -> Result<Proof, Fault> {
    let merchant = MerchantKey::parse(named.0.as_str()).ok().filter(|merchant| viewer.sees(merchant));
    let merchant = merchant.ok_or(Fault::NotFound)?;
    proof(&app.store, &merchant, &named.1).await?.ok_or(Fault::NotFound)
}

pub async fn get(app: Console, viewer: Viewer, Path(name): Path<Named>, query: Filters) -> Result<Response, Fault> {
    let t = FinanceWords::of(app.lang);
    let frame = Frame::new(&app, &viewer, Place::Reconciliation, format!("{} {}", t.calendar_title, name.1));
    let proof = match found(&app, &viewer, &name).await {
        Ok(proof) => proof,
        Err(Fault::NotFound) => {
            let (merchant, day) = self::named(&app, &viewer, &name)?;
            return page(&MissingPage {
                t,
                merchant: merchant.key.to_string(),
                path: links::reconciliation(&merchant.key, &name.1),
                ledger: links::ledger(&merchant.key, &name.1),
                month: month_of(&merchant.key, &name.1),
                is_over: day.ends_at() <= frame.now,
                is_explainable: is_explainable(day, None, frame.now),
                frame,
            });
        }
        Err(fault) => return Err(fault),
    };
    let class = query.get("class").and_then(LineClass::parse);
    let after: Option<i64> = query.get("after").and_then(|text| text.parse().ok());
    let shown = lines(&app.store, &proof.day, class, after, LIMIT).await?;
    let path = links::reconciliation(&proof.day.merchant, &proof.day.day);
    let repair = progress(&app.store, &proof.day).await?;
    let day = BillDay::parse(&proof.day.day).ok();
    page(&DayPage {
        is_explainable: day.is_some_and(|day| is_explainable(day, Some(&proof.day), frame.now)),
        progress: repair.as_ref().map(|repair| Progress::new(&frame, t, repair)),
        lines: shown.rows.iter().map(|line| LineView::new(line, &frame, t)).collect(),
        facts: facts(&frame, t, &proof),
        frame,
        t,
        first: after.map(|_| query.with_first(&path, "class", query.text("class"))),
        next: shown.next.map(|id| query.with(&path, "after", &id.to_string())),
        ledger: links::ledger(&proof.day.merchant, &proof.day.day),
        month: month_of(&proof.day.merchant, &proof.day.day),
        path,
        may_export: viewer.may(Right::Export),
        proof,
        query,
    })
}

/// The calendar of a day's month, of its merchant.
fn month_of(merchant: &MerchantKey, day: &str) -> String {
    links::month(merchant, day.get(..7).unwrap_or(day))
}

/// Who asked, when it was compared, which of the three loops hold.
fn facts(frame: &Frame, t: &'static FinanceWords, proof: &Proof) -> Facts {
    let (day, loops) = (&proof.day, &proof.day.loops);
    let holds = |holds: bool| Cell::Badge(frame.badge(if holds { Status::Holds } else { Status::Differs }));
    let has_result = day.result().is_some();
    let not_seen = || Cell::Text(loops.funds_error.clone().unwrap_or_else(|| t.not_seen.to_owned()));
    let funds = loops.funds.as_ref();
    let by = day.asked_by.clone().unwrap_or_else(|| t.by_schedule.to_owned());
    let rows = [
        Some((frame.w.merchant, Cell::Text(day.merchant.to_string()))),
        has_result.then(|| (t.loop_trades, holds(loops.trades.holds))),
        has_result.then(|| (t.loop_funds, funds.map_or_else(not_seen, |funds| holds(funds.holds)))),
        funds.and_then(|funds| funds.balance_holds).map(|balance| (t.loop_balance, holds(balance))),
        funds.filter(|funds| funds.other_fen != 0).map(|f| (t.booked_other, Cell::Money(frame.money(f.other_fen)))),
        Some((t.asked_by, Cell::Text(by))),
        Some((t.asked_at, Cell::Time(frame.time(&day.asked_at)))),
        day.finished_at.map(|at| (t.finished_at, Cell::Time(frame.time(&at)))),
        day.next_at.filter(|_| day.work == Work::Idle).map(|at| (t.next_at, Cell::Time(frame.time(&at)))),
        day.explained.as_ref().map(|note| (t.day_explained, Cell::Text(note.note.clone()))),
        day.explained.as_ref().map(|note| (t.explained_by, Cell::Text(note.by.clone()))),
        day.explained.as_ref().map(|note| (t.explained_at, Cell::Time(frame.time(&note.at)))),
    ];
    Facts { rows: rows.into_iter().flatten().collect() }
}

/// Explains a line.
pub async fn resolve(
    app: Console,
    Path((merchant, day, id)): Path<(String, String, i64)>,
    Posted { viewer, fields }: Posted,
) -> Result<Response, Fault> {
    viewer.require(Right::Accept)?;
    let t = FinanceWords::of(app.lang);
    let proof = found(&app, &viewer, &(merchant, day)).await?;
    let back = links::reconciliation(&proof.day.merchant, &proof.day.day);
    let note = match reason::check(fields.get("note"), app.lang) {
        Ok(note) => note,
        Err(problem) => return Ok(flash::redirect(app.shared.jar, &back, problem)),
    };
    let line = line(&app.store, &proof.day, id).await?.ok_or(Fault::NotFound)?;
    let says = match explain((&app.store, &app.clock), &viewer.operator(), &proof.day, &line, note).await? {
        Resolved::Done => t.says_resolved,
        Resolved::NotOpen => t.says_not_open,
    };
    Ok(flash::redirect(app.shared.jar, &back, says))
}

impl DayPage {
    fn status(&self) -> Status {
        calendar::status(DayState::parse(self.proof.day.state()).unwrap_or(DayState::Pending))
    }

    fn is_working(&self) -> bool {
        self.proof.day.work != Work::Idle
    }

    /// Whether the page keeps itself current.
    fn is_live(&self) -> bool {
        self.is_working() || self.progress.as_ref().is_some_and(|progress| progress.is_running)
    }

    fn has_result(&self) -> bool {
        self.proof.day.result().is_some()
    }

    /// Whether its sums are known per currency.
    fn has_sums(&self) -> bool {
        self.has_result() && !self.proof.day.is_mixed
    }

    /// The address that stops the repair, while that is under way.
    fn stop(&self) -> Option<String> {
        let is = self.progress.as_ref().is_some_and(|progress| progress.may_be_stopped);
        is.then(|| format!("{}/stop", self.repair()))
    }

    /// Open lines that a repair may bring.
    fn repairable(&self) -> i64 {
        let may = |class: &str| LineClass::parse(class).is_some_and(is_repairable);
        self.proof.classes.iter().filter(|sum| may(&sum.class)).map(|sum| sum.open).sum()
    }

    fn repair(&self) -> String {
        links::repair(&self.proof.day.merchant, &self.proof.day.day)
    }

    fn repair_of(&self, line: &LineView) -> String {
        format!("{}?line={}", self.repair(), line.id)
    }

    /// The address of a class's lines.
    fn class_link(&self, class: &str) -> String {
        self.query.with_first(&self.path, "class", class)
    }

    fn is_class(&self, class: &str) -> bool {
        self.query.text("class") == class
    }

    fn class_word<'a>(&self, class: &'a str) -> &'a str {
        class_word(class, self.frame.lang)
    }

    fn file(&self, kind: &str) -> String {
        let Proof { day, .. } = &self.proof;
        format!("{}/lines?merchant={}&day={}&format={kind}", calendar::PATH, day.merchant, day.day)
    }
}

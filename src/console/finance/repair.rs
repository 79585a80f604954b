//! `GET` and `POST /console/reconciliation/{merchant}/{day}/repair`: what a repair would do, line by line, and what it
//! came to; `POST …/repair/stop`.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::day::{Named, found, named};
use super::lines::{LineView, is_repairable};
use super::mends::{MendView, mend_status, mend_why, mend_word};
use super::words::{FinanceWords, class_word};
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::reason;
use crate::console::ui::status::{Badge, Status};
use crate::console::viewer::Viewer;
use crate::http::Error;
use crate::ops::reconciliation::{Mend, PlanItem, Repair, apply, plan, stop as stop_repair};
use crate::ops::reports::Proof;
use crate::reconciliation::LineClass;
use crate::store::{Reconciliation, Right, Work};

/// Lines that a page shows.
const SHOWN: usize = 50;
/// Repairs of more lines than this are confirmed by typing how many they are.
const TYPED_ABOVE: usize = 100;

/// A line and what would be done about it.
struct Planned {
    line: LineView,
    badge: Badge,
    word: &'static str,
    why: &'static str,
}

#[derive(Template)]
#[template(path = "console/repair.html")]
struct RepairPage {
    frame: Frame,
    t: &'static FinanceWords,
    /// How many lines have each mend, of those that were planned.
    counts: Vec<(Badge, &'static str, usize)>,
    /// A plan's first page; the repair plans the others as it gets to them.
    planned: usize,
    items: Vec<Planned>,
    total: usize,
    /// Those of the plan that a repair does something about.
    to_do: usize,
    /// Classes whose open lines only a note explains: name, address, number.
    notes: Vec<(String, String, i64)>,
    line: String,
    action: String,
    back: String,
    reason: String,
    problem: Option<&'static str>,
    is_typed: bool,
}

#[derive(Template)]
#[template(path = "console/repair_result.html")]
struct ResultPage {
    frame: Frame,
    t: &'static FinanceWords,
    counts: Vec<(Badge, usize)>,
    rows: Vec<MendView>,
    total: usize,
    path: String,
    back: String,
    audit: String,
    is_working: bool,
}

fn tools(app: &Console) -> Repair<'_> {
    Repair { store: &app.store, bus: &app.bus, config: &app.config, clock: &app.clock, wechat: &app.wechat }
}

/// What would be done about the open lines, or about one of them.
pub async fn ask(app: Console, viewer: Viewer, Path(name): Path<Named>, query: Filters) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    let line = line_of(query.get("line"));
    page(&shown(&app, &viewer, &name, line, ("", None)).await?)
}

/// The line that is named. What cannot be read names none that there is, and never the whole day.
fn line_of(text: Option<&str>) -> Option<i64> {
    text.map(|text| text.parse().unwrap_or(-1))
}

/// How many lines there are, of which a plan has one page.
async fn lines_of(app: &Console, day: &Reconciliation, line: Option<i64>, items: &[PlanItem]) -> Result<usize, Fault> {
    if line.is_some() {
        return Ok(items.len());
    }
    let count = app.store.count_mendable_lines(day).await?;
    Ok(items.len().max(usize::try_from(count).unwrap_or_default()))
}

async fn shown(
    app: &Console,
    viewer: &Viewer,
    name: &Named,
    line: Option<i64>,
    (reason, problem): (&str, Option<&'static str>),
) -> Result<RepairPage, Fault> {
    let t = FinanceWords::of(app.lang);
    let proof = found(app, viewer, name).await?;
    let items = plan(tools(app), &proof.day, line).await.map_err(Error::from)?;
    let frame = Frame::new(app, viewer, Place::Reconciliation, format!("{} {}", t.repair_plan, name.1));
    let back = links::reconciliation(&proof.day.merchant, &proof.day.day);
    let total = lines_of(app, &proof.day, line, &items).await?;
    let notes = items.iter().filter(|item| item.mend == Mend::Note).count();
    Ok(RepairPage {
        counts: counts(&frame, &items),
        planned: items.len(),
        items: items.iter().take(SHOWN).map(|item| planned(item, &frame, t)).collect(),
        total,
        to_do: total - notes,
        notes: if line.is_some() { Vec::new() } else { only_notes(&proof, &back, &frame) },
        line: line.map(|id| id.to_string()).unwrap_or_default(),
        action: links::repair(&proof.day.merchant, &proof.day.day),
        back,
        reason: reason.to_owned(),
        problem,
        is_typed: total > TYPED_ABOVE,
        frame,
        t,
    })
}

fn planned(item: &PlanItem, frame: &Frame, t: &FinanceWords) -> Planned {
    Planned {
        line: LineView::new(&item.line, frame, t),
        badge: frame.badge(mend_status(item.mend)),
        word: mend_word(item.mend, frame.lang),
        why: mend_why(item, frame.lang),
    }
}

fn counts(frame: &Frame, items: &[PlanItem]) -> Vec<(Badge, &'static str, usize)> {
    let of = |mend: &Mend| {
        let n = items.iter().filter(|item| item.mend == *mend).count();
        (n > 0).then(|| (frame.badge(mend_status(*mend)), mend_word(*mend, frame.lang), n))
    };
    Mend::ALL.iter().filter_map(of).collect()
}

fn only_notes(proof: &Proof, day: &str, frame: &Frame) -> Vec<(String, String, i64)> {
    let may = |class: &str| LineClass::parse(class).is_some_and(is_repairable);
    let open = proof.classes.iter().filter(|sum| sum.open > 0 && !may(&sum.class));
    let note = |sum: &crate::store::ClassSum| {
        (class_word(&sum.class, frame.lang).to_owned(), format!("{day}?class={}", sum.class), sum.open)
    };
    open.map(note).collect()
}

/// Carries the plan out and shows what each line came to.
pub async fn repair(
    app: Console,
    Path(name): Path<Named>,
    Posted { viewer, fields }: Posted,
) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    let t = FinanceWords::of(app.lang);
    let proof = found(&app, &viewer, &name).await?;
    let (merchant, _) = named(&app, &viewer, &name)?;
    let line = line_of(fields.get("line"));
    let typed: String = fields.get("count").unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    let reason = match reason::check(fields.get("reason"), app.lang) {
        Err(problem) => Err(problem),
        Ok(reason) => {
            let items = plan(tools(&app), &proof.day, line).await.map_err(Error::from)?;
            let planned = lines_of(&app, &proof.day, line, &items).await?;
            if planned > TYPED_ABOVE && typed != planned.to_string() { Err(t.wrong_count) } else { Ok(reason) }
        }
    };
    let reason = match reason {
        Ok(reason) => reason,
        Err(problem) => {
            let entered = fields.get("reason").unwrap_or_default();
            let form = shown(&app, &viewer, &name, line, (entered, Some(problem))).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&form)?).into_response());
        }
    };
    let outcomes = apply(tools(&app), &viewer.operator(), &proof.day, (merchant, line, reason)).await;
    let outcomes = outcomes.map_err(Error::from)?;
    let frame = Frame::new(&app, &viewer, Place::Reconciliation, format!("{} {}", t.repair_result, name.1));
    let rows: Vec<MendView> = outcomes.iter().map(|outcome| MendView::new(outcome, &frame, t)).collect();
    let mut counted: BTreeMap<&'static str, (Badge, usize)> = BTreeMap::new();
    for row in &rows {
        counted.entry(row.badge.status.word(app.lang)).or_insert_with(|| (frame.badge(row.badge.status), 0)).1 += 1;
    }
    let back = links::reconciliation(&proof.day.merchant, &proof.day.day);
    let after = found(&app, &viewer, &name).await?;
    page(&ResultPage {
        counts: counted.into_values().collect(),
        total: rows.len(),
        rows: rows.into_iter().take(SHOWN).collect(),
        path: back.clone(),
        audit: format!("/console/audit?action=reconciliation.repair&merchant={}", proof.day.merchant),
        back,
        is_working: after.day.work != Work::Idle,
        frame,
        t,
    })
}

/// Stops the repair of a day.
pub async fn stop(app: Console, Path(name): Path<Named>, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    let t = FinanceWords::of(app.lang);
    let proof = found(&app, &viewer, &name).await?;
    let back = links::reconciliation(&proof.day.merchant, &proof.day.day);
    let reason = match reason::check(fields.get("reason"), app.lang) {
        Ok(reason) => reason,
        Err(problem) => return Ok(flash::redirect(app.shared.jar, &back, problem)),
    };
    let stopped = stop_repair(tools(&app), &viewer.operator(), &proof.day, reason).await.map_err(Error::from)?;
    let says = if stopped.ok_or(Fault::NotFound)? { t.says_stopped } else { t.says_not_under_way };
    Ok(flash::redirect(app.shared.jar, &back, says))
}

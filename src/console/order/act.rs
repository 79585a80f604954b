//! What a person does about an order: ask WeChat, close it, accept held money. Each of the latter two first says what
//! it would do.

use std::sync::Arc;

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::find::find;
use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::orders::status;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::ui::reason;
use crate::console::viewer::Viewer;
use crate::http::Error;
use crate::ids::TransactionId;
use crate::ops::commands;
use crate::ops::money::{Accepted, accept as accept_payment};
use crate::order::Refusal;
use crate::store::{Right, StoredOrder};

#[derive(Template)]
#[template(path = "console/act.html")]
struct ActPage {
    frame: Frame,
    t: &'static Texts,
    what: &'static str,
    facts: Facts,
    /// Where the form is posted.
    action: String,
    transaction_id: String,
    confirm: &'static str,
    back: String,
    /// What was entered, and what is wrong with it.
    reason: String,
    problem: Option<&'static str>,
}

/// What is done, in words.
struct Act {
    /// The last part of its path.
    name: &'static str,
    title: &'static str,
    what: &'static str,
    confirm: &'static str,
}

impl ActPage {
    /// The form of an act on an order, with nothing entered.
    fn new(app: &Console, viewer: &Viewer, stored: &StoredOrder, act: Act) -> ActPage {
        let frame = Frame::new(app, viewer, Place::Orders, act.title);
        let back = links::order(&stored.order.merchant, &stored.order.order_no);
        ActPage {
            facts: facts(&frame, stored),
            frame,
            t: Texts::of(app.lang),
            what: act.what,
            action: format!("{back}/{}", act.name),
            transaction_id: String::new(),
            confirm: act.confirm,
            back,
            reason: String::new(),
            problem: None,
        }
    }
}

type Named = (String, String);

/// The form again, with what was entered.
fn again(form: ActPage, entered: Option<&str>, problem: &'static str) -> Result<Response, Fault> {
    let shown = ActPage { reason: entered.unwrap_or_default().to_owned(), problem: Some(problem), ..form };
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&shown)?).into_response())
}

fn back(app: &Console, stored: &StoredOrder, says: &str) -> Response {
    flash::redirect(app.shared.jar, &links::order(&stored.order.merchant, &stored.order.order_no), says)
}

/// `POST …/refresh`
pub async fn refresh(app: Console, Path(named): Path<Named>, Posted { viewer, .. }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    let stored = find(&app, &viewer, named).await?;
    let before = (stored.order.version, stored.order.queries.answered_at);
    let now = app.refresh_all(Arc::clone(&stored)).await?;
    let is_answered = before != (now.order.version, now.order.queries.answered_at);
    let t = Texts::of(app.lang);
    Ok(back(&app, &stored, if is_answered { t.refreshed } else { t.not_refreshed }))
}

/// `GET …/close`
pub async fn ask_close(app: Console, viewer: Viewer, Path(named): Path<Named>) -> Result<Response, Fault> {
    viewer.require(Right::Accept)?;
    let stored = find(&app, &viewer, named).await?;
    let t = Texts::of(app.lang);
    if !stored.order.state.is_open() {
        return Ok(back(&app, &stored, t.not_open));
    }
    page(&close_form(&app, &viewer, &stored))
}

fn close_form(app: &Console, viewer: &Viewer, stored: &StoredOrder) -> ActPage {
    let t = Texts::of(app.lang);
    let words = Act { name: "close", title: t.close_title, what: t.close_what, confirm: t.close };
    ActPage::new(app, viewer, stored, words)
}

/// `POST …/close`
pub async fn close(
    app: Console,
    Path(named): Path<Named>,
    Posted { viewer, fields }: Posted,
) -> Result<Response, Fault> {
    viewer.require(Right::Accept)?;
    let t = Texts::of(app.lang);
    let stored = find(&app, &viewer, named).await?;
    let reason = match reason::check(fields.get("reason"), app.lang) {
        Ok(reason) => reason,
        Err(problem) => return again(close_form(&app, &viewer, &stored), fields.get("reason"), problem),
    };
    if !stored.order.state.is_open() {
        return Ok(back(&app, &stored, t.not_open));
    }
    let tools = (&app.store, &app.bus, &app.clock);
    commands::close(tools, &viewer.operator(), &stored.order, Some(&reason)).await.map_err(Error::from)?;
    Ok(back(&app, &stored, t.close_asked))
}

/// `GET …/accept?transaction_id=…`
pub async fn ask_accept(
    app: Console,
    viewer: Viewer,
    Path(named): Path<Named>,
    filters: Filters,
) -> Result<Response, Fault> {
    viewer.require(Right::Accept)?;
    let stored = find(&app, &viewer, named).await?;
    page(&accept_form(&app, &viewer, &stored, &transaction(filters.get("transaction_id"))?)?)
}

fn accept_form(
    app: &Console,
    viewer: &Viewer,
    stored: &StoredOrder,
    transaction_id: &TransactionId,
) -> Result<ActPage, Fault> {
    let payment = stored.order.payment(transaction_id).ok_or(Fault::NotFound)?;
    let t = Texts::of(app.lang);
    let words = Act { name: "accept", title: t.accept_title, what: t.accept_what, confirm: t.accept };
    let mut form = ActPage::new(app, viewer, stored, words);
    let (number, amount) = (form.frame.plain_id(transaction_id), form.frame.sum(payment.amount, &payment.currency));
    form.facts.rows.extend([(t.transaction, Cell::Id(number)), (t.refund_of, Cell::Money(amount))]);
    form.facts.rows.extend(payment.reason.map(|reason| (t.reason, Cell::Text(reason.as_str().to_owned()))));
    Ok(ActPage { transaction_id: transaction_id.to_string(), ..form })
}

/// `POST …/accept`
pub async fn accept(
    app: Console,
    Path(named): Path<Named>,
    Posted { viewer, fields }: Posted,
) -> Result<Response, Fault> {
    viewer.require(Right::Accept)?;
    let t = Texts::of(app.lang);
    let stored = find(&app, &viewer, named).await?;
    let transaction_id = transaction(fields.get("transaction_id"))?;
    let reason = match reason::check(fields.get("reason"), app.lang) {
        Ok(reason) => reason,
        Err(problem) => {
            let form = accept_form(&app, &viewer, &stored, &transaction_id)?;
            return again(form, fields.get("reason"), problem);
        }
    };
    let asked = (transaction_id, reason);
    let done = accept_payment(app.tools(), &viewer.operator(), &stored, asked, None).await;
    let says = match done.map_err(Error::from)? {
        Accepted::Done => t.accepted,
        Accepted::Repeated => t.accepted_before,
        Accepted::Refused(Refusal::GivenBack) => t.given_back,
        Accepted::Refused(Refusal::ForeignPayment) => t.foreign,
        Accepted::Refused(_) => t.no_payment,
        Accepted::Awaits(_) => return Ok(flash::redirect(app.shared.jar, links::APPROVALS, t.awaits)),
    };
    Ok(back(&app, &stored, says))
}

pub fn transaction(text: Option<&str>) -> Result<TransactionId, Fault> {
    text.and_then(|text| TransactionId::parse(text).ok()).ok_or(Fault::NotFound)
}

/// Which order it is.
pub fn facts(frame: &Frame, stored: &StoredOrder) -> Facts {
    let order = &stored.order;
    let link = links::order(&order.merchant, &order.order_no);
    let rows = vec![
        (frame.w.order, Cell::Id(frame.id(link, &order.order_no))),
        (frame.w.merchant, Cell::Text(order.merchant.to_string())),
        (frame.w.amount, Cell::Money(frame.money(order.amount))),
        (frame.w.state, Cell::Badge(frame.badge(status(stored)))),
    ];
    Facts { rows }
}

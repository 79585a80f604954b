//! What a person does about an order: ask WeChat, close it, accept held money. Each of the latter two first says what
//! it would do.

use std::sync::Arc;

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::find::find;
use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::{Fields, Posted};
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::orders::status;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::viewer::Viewer;
use crate::http::Error;
use crate::ids::TransactionId;
use crate::ops::commands;
use crate::ops::money::{Accepted, accept as accept_payment};
use crate::order::Refusal;
use crate::store::{Right, StoredOrder};

/// The longest reason, in bytes.
const REASON_MAX_BYTES: usize = 500;

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
}

type Named = (String, String);

/// The reason of a form.
fn reason<'a>(fields: &'a Fields, t: &'static Texts) -> Result<&'a str, Fault> {
    let reason = fields.get("reason").filter(|reason| reason.len() <= REASON_MAX_BYTES);
    reason.ok_or_else(|| Fault::Unusable(t.reason_needed.to_owned()))
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
    let frame = Frame::new(&app, &viewer, Place::Orders, t.close_title);
    let path = links::order(&stored.order.merchant, &stored.order.order_no);
    page(&ActPage {
        facts: facts(&frame, &stored),
        frame,
        t,
        what: t.close_what,
        action: format!("{path}/close"),
        transaction_id: String::new(),
        confirm: t.close,
        back: path,
    })
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
    let reason = reason(&fields, t)?;
    if !stored.order.state.is_open() {
        return Ok(back(&app, &stored, t.not_open));
    }
    let tools = (&app.store, &app.bus, &app.clock);
    commands::close(tools, &viewer.operator(), &stored.order, Some(reason)).await.map_err(Error::from)?;
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
    let transaction_id = transaction(filters.get("transaction_id"))?;
    let payment = stored.order.payment(&transaction_id).ok_or(Fault::NotFound)?;
    let t = Texts::of(app.lang);
    let frame = Frame::new(&app, &viewer, Place::Orders, t.accept_title);
    let path = links::order(&stored.order.merchant, &stored.order.order_no);
    let mut facts = facts(&frame, &stored);
    facts.rows.push((t.transaction, Cell::Id(frame.plain_id(&transaction_id))));
    facts.rows.push((t.refund_of, Cell::Money(frame.money(payment.amount))));
    facts.rows.extend(payment.reason.map(|reason| (t.reason, Cell::Text(reason.as_str().to_owned()))));
    page(&ActPage {
        facts,
        frame,
        t,
        what: t.accept_what,
        action: format!("{path}/accept"),
        transaction_id: transaction_id.to_string(),
        confirm: t.accept,
        back: path,
    })
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
    let asked = (transaction(fields.get("transaction_id"))?, reason(&fields, t)?.to_owned());
    let done = accept_payment(&app.store, &app.clock, &viewer.operator(), &stored, asked).await;
    let says = match done.map_err(Error::from)? {
        Accepted::Done => t.accepted,
        Accepted::Repeated => t.accepted_before,
        Accepted::Refused(Refusal::GivenBack) => t.given_back,
        Accepted::Refused(Refusal::ForeignPayment) => t.foreign,
        Accepted::Refused(_) => t.no_payment,
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

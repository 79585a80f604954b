//! A refund of one of an order's payments: what it would be, then, confirmed, the refund.

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::act::{facts, transaction};
use super::find::find;
use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::{Fields, Posted};
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::ui::money;
use crate::console::viewer::Viewer;
use crate::http::Error;
use crate::http::orders::request::is_plain;
use crate::ids::{EventId, OutRefundNo, TransactionId};
use crate::money::Fen;
use crate::ops::money::{Asked, PAYER_REASON_MAX_BYTES, RefundError, RefundRefusal, content_hash, record};
use crate::ops::replay::Tools;
use crate::store::{PaidAttempt, RefundCap, Right, StoredOrder};

#[derive(Template)]
#[template(path = "console/refund.html")]
struct RefundPage {
    frame: Frame,
    t: &'static Texts,
    facts: Facts,
    transaction_id: TransactionId,
    currency: String,
    action: String,
    back: String,
    /// Names the refund: the same form posted twice is one refund.
    key: String,
    /// What was entered, in yuan.
    entered: String,
    reason: String,
    /// What will go back, once it was entered.
    preview: Option<Fen>,
    /// None where it is not known.
    left_after: Option<Fen>,
    problem: Option<String>,
    /// A confirmed form was posted, and what came of it is not known.
    is_unknown: bool,
}

/// `GET …/refund?transaction_id=…`
pub async fn ask(
    app: Console,
    viewer: Viewer,
    Path(named): Path<(String, String)>,
    filters: Filters,
) -> Result<Response, Fault> {
    viewer.require(Right::Refund)?;
    let stored = find(&app, &viewer, named).await?;
    let payment = payment(&app, &stored, filters.get("transaction_id")).await?;
    let entered = yuan(payment.left);
    // Another amount before the refund is confirmed: the form keeps its key.
    let key = filters.get("key").and_then(|key| EventId::parse(key).ok()).unwrap_or_default();
    page(&form(&app, &viewer, &stored, &payment, &key.to_string(), entered))
}

/// `POST …/refund`: the preview, or, where it is confirmed, the refund.
pub async fn refund(
    app: Console,
    Path(named): Path<(String, String)>,
    Posted { viewer, fields }: Posted,
) -> Result<Response, Fault> {
    viewer.require(Right::Refund)?;
    let path = links::order(&named.0, &named.1);
    match posted(&app, &viewer, named, &fields).await {
        Err(Fault::Unavailable) if fields.get("confirm") == Some("1") => unknown(&app, &viewer, path, &fields),
        other => other,
    }
}

/// The same form with the same key, after a confirmed one whose outcome is not known: the answer of a COMMIT can be
/// lost. Written without the database, which may be away.
fn unknown(app: &Console, viewer: &Viewer, path: String, fields: &Fields) -> Result<Response, Fault> {
    let t = Texts::of(app.lang);
    let text = |name: &str| fields.get(name).unwrap_or_default().to_owned();
    let shown = RefundPage {
        frame: Frame::new(app, viewer, Place::Orders, t.refund_title),
        t,
        facts: Facts { rows: Vec::new() },
        transaction_id: transaction(fields.get("transaction_id"))?,
        currency: fields.get("currency").unwrap_or("CNY").to_owned(),
        action: format!("{path}/refund"),
        back: path,
        key: text("key"),
        preview: Some(amount(&text("amount")).ok_or(Fault::Unavailable)?),
        entered: text("amount"),
        reason: text("reason"),
        left_after: None,
        problem: Some(t.refund_unknown.to_owned()),
        is_unknown: true,
    };
    Ok((StatusCode::SERVICE_UNAVAILABLE, page(&shown)?).into_response())
}

fn amount(entered: &str) -> Option<Fen> {
    Fen::from_yuan(entered).ok().filter(|amount| *amount > Fen::ZERO)
}

async fn posted(app: &Console, viewer: &Viewer, named: (String, String), fields: &Fields) -> Result<Response, Fault> {
    let stored = find(app, viewer, named).await?;
    let t = Texts::of(app.lang);
    let payment = payment(app, &stored, fields.get("transaction_id")).await?;
    let key = fields.get("key").and_then(|key| EventId::parse(key).ok()).ok_or(Fault::NotFound)?.to_string();
    let reason = fields.get("reason").unwrap_or_default().to_owned();
    let entered = fields.get("amount").unwrap_or_default().to_owned();
    let amount = amount(&entered);
    let refund_no = OutRefundNo::of_key(&stored.order.merchant, &viewer.operator().id, &key);
    let is_known = app.store.refund(&stored.order.merchant, &refund_no).await?.is_some();
    let problem = match amount {
        _ if reason.is_empty() => Some(t.reason_needed),
        _ if reason.len() > PAYER_REASON_MAX_BYTES => Some(t.long_reason),
        _ if !is_plain(&reason, PAYER_REASON_MAX_BYTES) => Some(t.plain_reason),
        Some(amount) if amount <= payment.left || is_known => None,
        _ => Some(t.bad_amount),
    };
    let (Some(amount), None) = (amount, problem) else {
        let shown = form(app, viewer, &stored, &payment, &key, entered);
        return page(&RefundPage { reason, problem: problem.map(str::to_owned), ..shown });
    };
    let back = links::order(&stored.order.merchant, &stored.order.order_no);
    if is_known {
        return Ok(flash::redirect(app.shared.jar, &back, t.refund_known));
    }
    if fields.get("confirm") != Some("1") {
        let left_after = Some(Fen::from_i64(payment.left.as_i64() - amount.as_i64()));
        let shown = form(app, viewer, &stored, &payment, &key, entered);
        return page(&RefundPage { reason, preview: Some(amount), left_after, ..shown });
    }
    let shown = form(app, viewer, &stored, &payment, &key, entered);
    let shown = RefundPage { reason: reason.clone(), ..shown };
    let asked = Asked {
        refund_no: refund_no.clone(),
        amount,
        total: payment.paid,
        currency: payment.currency.clone(),
        content_hash: content_hash(
            Some(&stored.order.order_no),
            Some(amount),
            Some(&payment.transaction_id),
            Some(&reason),
        ),
        reason: Some(reason),
        requested_by: format!("user:{}", viewer.name()),
        idempotency: None,
        cap: cap(app, viewer),
    };
    let merchant = app.config.merchant(stored.order.merchant.as_str()).ok_or(Fault::NotFound)?;
    let says = match record(tools(app), &viewer.operator(), merchant, payment, asked).await {
        Ok(recorded) if recorded.is_new => t.refund_done,
        Ok(_) => t.refund_known,
        Err(RefundError::Refused(RefundRefusal::Capped { left })) => {
            // The same form, posted at the same moment, may have taken what was left of the day.
            if app.store.refund(&stored.order.merchant, &refund_no).await?.is_none() {
                let problem = Some(format!("{} {}", t.refund_capped, money::yuan(left.as_i64())));
                return Ok((StatusCode::CONFLICT, page(&RefundPage { problem, ..shown })?).into_response());
            }
            t.refund_known
        }
        Err(e) => return Err(Error::from(e).into()),
    };
    Ok(flash::redirect(app.shared.jar, &back, says))
}

/// What the user may still ask for on this day, where there is a limit.
fn cap(app: &Console, viewer: &Viewer) -> Option<RefundCap> {
    let cap = app.config.console.refund_cap_per_day?;
    Some(RefundCap { api_key: viewer.operator().id, day: app.clock.now().to_beijing()[..8].to_owned(), cap })
}

fn tools(app: &Console) -> Tools<'_> {
    Tools { store: &app.store, bus: &app.bus, config: &app.config, clock: &app.clock, wechat: &app.wechat }
}

async fn payment(app: &Console, stored: &StoredOrder, named: Option<&str>) -> Result<PaidAttempt, Fault> {
    let found = app.store.paid_attempt(&stored.order.merchant, &transaction(named)?).await?;
    found.filter(|payment| payment.order_id == Some(stored.order.id)).ok_or(Fault::NotFound)
}

fn form(
    app: &Console,
    viewer: &Viewer,
    stored: &StoredOrder,
    payment: &PaidAttempt,
    key: &str,
    entered: String,
) -> RefundPage {
    let t = Texts::of(app.lang);
    let frame = Frame::new(app, viewer, Place::Orders, t.refund_title);
    let path = links::order(&stored.order.merchant, &stored.order.order_no);
    let mut facts = facts(&frame, stored);
    facts.rows.push((t.transaction, Cell::Id(frame.plain_id(&payment.transaction_id))));
    facts.rows.push((t.refund_of, Cell::Money(frame.sum(payment.paid, &payment.currency))));
    facts.rows.push((t.refund_left, Cell::Money(frame.sum(payment.left, &payment.currency))));
    RefundPage {
        frame,
        t,
        facts,
        action: format!("{path}/refund"),
        back: path,
        key: key.to_owned(),
        entered,
        reason: String::new(),
        preview: None,
        left_after: Some(payment.left),
        problem: None,
        is_unknown: false,
        transaction_id: payment.transaction_id.clone(),
        currency: payment.currency.clone(),
    }
}

/// `12.50`
fn yuan(amount: Fen) -> String {
    format!("{}.{:02}", amount.as_i64() / 100, amount.as_i64() % 100)
}

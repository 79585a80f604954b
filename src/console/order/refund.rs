//! A refund of one of an order's payments: what it would be, then, confirmed, the refund.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::act::{facts, transaction};
use super::find::find;
use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::viewer::Viewer;
use crate::http::Error;
use crate::ids::{EventId, OutRefundNo};
use crate::money::Fen;
use crate::ops::money::{Asked, PAYER_REASON_MAX_BYTES, content_hash, record};
use crate::ops::replay::Tools;
use crate::store::{PaidAttempt, Right, StoredOrder};

#[derive(Template)]
#[template(path = "console/refund.html")]
struct RefundPage {
    frame: Frame,
    t: &'static Texts,
    facts: Facts,
    payment: PaidAttempt,
    action: String,
    back: String,
    /// Names the refund: the same form posted twice is one refund.
    key: String,
    /// What was entered, in yuan.
    entered: String,
    reason: String,
    /// What will go back, once it was entered.
    preview: Option<Fen>,
    left_after: Fen,
    problem: Option<&'static str>,
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
    page(&form(&app, &viewer, &stored, payment, &EventId::new().to_string(), entered))
}

/// `POST …/refund`: the preview, or, where it is confirmed, the refund.
pub async fn refund(
    app: Console,
    Path(named): Path<(String, String)>,
    Posted { viewer, fields }: Posted,
) -> Result<Response, Fault> {
    viewer.require(Right::Refund)?;
    let stored = find(&app, &viewer, named).await?;
    let t = Texts::of(app.lang);
    let payment = payment(&app, &stored, fields.get("transaction_id")).await?;
    let key = fields.get("key").and_then(|key| EventId::parse(key).ok()).ok_or(Fault::NotFound)?.to_string();
    let reason = fields.get("reason").unwrap_or_default().to_owned();
    let entered = fields.get("amount").unwrap_or_default().to_owned();
    let amount = Fen::from_yuan(&entered).ok().filter(|amount| *amount > Fen::ZERO);
    let refund_no = OutRefundNo::of_key(&stored.order.merchant, &viewer.operator().id, &key);
    let is_known = app.store.refund(&stored.order.merchant, &refund_no).await?.is_some();
    let problem = match amount {
        _ if reason.is_empty() => Some(t.reason_needed),
        _ if reason.len() > PAYER_REASON_MAX_BYTES => Some(t.long_reason),
        Some(amount) if amount <= payment.left || is_known => None,
        _ => Some(t.bad_amount),
    };
    let (Some(amount), None) = (amount, problem) else {
        let shown = form(&app, &viewer, &stored, payment, &key, entered);
        return page(&RefundPage { reason, problem, ..shown });
    };
    let back = links::order(&stored.order.merchant, &stored.order.order_no);
    if is_known {
        return Ok(flash::redirect(app.shared.jar, &back, t.refund_known));
    }
    if fields.get("confirm") != Some("1") {
        let left_after = Fen::from_i64(payment.left.as_i64() - amount.as_i64());
        let shown = form(&app, &viewer, &stored, payment, &key, entered);
        return page(&RefundPage { reason, preview: Some(amount), left_after, ..shown });
    }
    let asked = Asked {
        refund_no,
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
        idempotency: None,
        cap: None,
    };
    let merchant = app.config.merchant(stored.order.merchant.as_str()).ok_or(Fault::NotFound)?;
    let recorded = record(tools(&app), &viewer.operator(), merchant, payment, asked).await.map_err(Error::from)?;
    let says = if recorded.is_new { t.refund_done } else { t.refund_known };
    Ok(flash::redirect(app.shared.jar, &back, says))
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
    payment: PaidAttempt,
    key: &str,
    entered: String,
) -> RefundPage {
    let t = Texts::of(app.lang);
    let frame = Frame::new(app, viewer, Place::Orders, t.refund_title);
    let path = links::order(&stored.order.merchant, &stored.order.order_no);
    let mut facts = facts(&frame, stored);
    facts.rows.push((t.transaction, Cell::Id(frame.plain_id(&payment.transaction_id))));
    facts.rows.push((t.refund_of, Cell::Money(frame.money(payment.paid))));
    facts.rows.push((t.refund_left, Cell::Money(frame.money(payment.left))));
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
        left_after: payment.left,
        problem: None,
        payment,
    }
}

/// `12.50`
fn yuan(amount: Fen) -> String {
    format!("{}.{:02}", amount.as_i64() / 100, amount.as_i64() % 100)
}

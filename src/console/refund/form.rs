//! What it would be, then, confirmed, the refund.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::page::{RefundPage, amount};
use super::target::{Named, Target};
use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::{Fields, Posted};
use crate::console::frame::page;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::money;
use crate::console::viewer::Viewer;
use crate::http::Error;
use crate::http::orders::request::is_plain;
use crate::http::refunds::Confirmed;
use crate::ids::{EventId, OutRefundNo};
use crate::money::Fen;
use crate::ops::money::{About, Asked, PAYER_REASON_MAX_BYTES, Recorded, audit_refused, content_hash, record};
use crate::store::{RefundCap, Right};

type Pair = (String, String);

/// `GET /console/orders/{merchant}/{order_no}/refund?transaction_id=…`
pub async fn ask(app: Console, viewer: Viewer, Path(named): Path<Pair>, filters: Filters) -> Result<Response, Fault> {
    shown(&app, &viewer, &Named::Order(named.0, named.1), &filters).await
}

/// `POST /console/orders/{merchant}/{order_no}/refund`
pub async fn refund(app: Console, Path(named): Path<Pair>, posted: Posted) -> Result<Response, Fault> {
    answer(&app, &Named::Order(named.0, named.1), &posted).await
}

/// `GET /console/payments/{merchant}/{transaction_id}/refund`
pub async fn ask_of_payment(
    app: Console,
    viewer: Viewer,
    Path(named): Path<Pair>,
    filters: Filters,
) -> Result<Response, Fault> {
    shown(&app, &viewer, &Named::Payment(named.0, named.1), &filters).await
}

/// `POST /console/payments/{merchant}/{transaction_id}/refund`
pub async fn refund_of_payment(app: Console, Path(named): Path<Pair>, posted: Posted) -> Result<Response, Fault> {
    answer(&app, &Named::Payment(named.0, named.1), &posted).await
}

async fn shown(app: &Console, viewer: &Viewer, named: &Named, filters: &Filters) -> Result<Response, Fault> {
    viewer.require(Right::Refund)?;
    let target = Target::load(app, viewer, named, filters.get("transaction_id")).await?;
    // Another amount before the refund is confirmed: the form keeps its key.
    let key = filters.get("key").and_then(|key| EventId::parse(key).ok()).unwrap_or_default().to_string();
    if let Some(elsewhere) = target.moved(&key) {
        return Ok(Redirect::to(&elsewhere).into_response());
    }
    page(&RefundPage::of(app, viewer, (named, &target), (&key, &yuan(target.payment.left))))
}

/// The preview, or, where it is confirmed, the refund.
async fn answer(app: &Console, named: &Named, Posted { viewer, fields }: &Posted) -> Result<Response, Fault> {
    viewer.require(Right::Refund)?;
    match posted(app, viewer, named, fields).await {
        Err(Fault::Unavailable) if fields.get("confirm") == Some("1") => {
            let shown = RefundPage::unknown(app, viewer, named, fields)?;
            Ok((StatusCode::SERVICE_UNAVAILABLE, page(&shown)?).into_response())
        }
        other => other,
    }
}

async fn posted(app: &Console, viewer: &Viewer, named: &Named, fields: &Fields) -> Result<Response, Fault> {
    let t = Texts::of(app.lang);
    let target = Target::load(app, viewer, named, fields.get("transaction_id")).await?;
    let key = fields.get("key").and_then(|key| EventId::parse(key).ok()).ok_or(Fault::NotFound)?.to_string();
    let reason = fields.get("reason").unwrap_or_default().to_owned();
    let entered = fields.get("amount").unwrap_or_default();
    let (left, is_confirmed) = (target.payment.left, fields.get("confirm") == Some("1"));
    let refund_no = target.refund_no(viewer, &key);
    let is_known = app.store.refund(&target.merchant, &refund_no).await?.is_some();
    let form = || RefundPage::of(app, viewer, (named, &target), (&key, entered));
    let problem = match amount(entered) {
        _ if reason.is_empty() => Some(t.reason_needed),
        _ if reason.len() > PAYER_REASON_MAX_BYTES => Some(t.long_reason),
        _ if !is_plain(&reason, PAYER_REASON_MAX_BYTES) => Some(t.plain_reason),
        // What is confirmed is refused where it is recorded, and is in the audit.
        Some(amount) if amount <= left || is_known || is_confirmed => None,
        _ => Some(t.bad_amount),
    };
    let (Some(amount), None) = (amount(entered), problem) else {
        return page(&RefundPage { reason, problem: problem.map(str::to_owned), ..form() });
    };
    if is_known {
        return Ok(flash::redirect(app.shared.jar, &named.back(), t.refund_known));
    }
    if let Some(elsewhere) = target.moved(&key) {
        return Ok(flash::redirect(app.shared.jar, &elsewhere, t.moved));
    }
    if !is_confirmed {
        let left_after = Some(Fen::from_i64(left.as_i64() - amount.as_i64()));
        return page(&RefundPage { reason, preview: Some(amount), left_after, ..form() });
    }
    let shown = RefundPage { reason: reason.clone(), ..form() };
    let problem = match recorded(app, viewer, target, (refund_no, amount, reason)).await {
        Ok(recorded) => {
            let says = if recorded.is_new { t.refund_done } else { t.refund_known };
            return Ok(flash::redirect(app.shared.jar, &named.back(), says));
        }
        Err(Error::RefundCap { left }) => format!("{} {}", t.refund_capped, money::yuan(left.as_i64())),
        Err(Error::RefundExceeds { .. }) => t.bad_amount.to_owned(),
        Err(other) => return Err(other.into()),
    };
    Ok((StatusCode::CONFLICT, page(&RefundPage { problem: Some(problem), ..shown })?).into_response())
}

async fn recorded(
    app: &Console,
    viewer: &Viewer,
    Target { merchant, order, payment }: Target,
    (refund_no, amount, reason): (OutRefundNo, Fen, String),
) -> Result<Recorded, Error> {
    let operator = viewer.operator();
    let merchant = app.config.merchant(merchant.as_str()).ok_or(Error::NotFound("merchant"))?;
    let known = Confirmed { total: payment.paid, currency: payment.currency.clone() };
    let confirmed = if amount <= payment.left { app.confirmed(merchant, &payment).await } else { Ok(known) };
    if matches!(confirmed, Err(Error::PaymentDiffers)) {
        let about = About::new(&merchant.key, Some(&payment), &refund_no, Some(&reason));
        audit_refused(app.tools(), &operator, about, "payment_differs").await?;
    }
    let Confirmed { total, currency } = confirmed?;
    let order_no = order.as_ref().map(|order| &order.order.order_no);
    let asked = Asked {
        refund_no,
        amount,
        total,
        currency,
        content_hash: content_hash(order_no, Some(amount), Some(&payment.transaction_id), Some(&reason)),
        reason: Some(reason),
        requested_by: format!("user:{}", viewer.name()),
        idempotency: None,
        cap: cap(app, viewer),
    };
    Ok(record(app.tools(), &operator, merchant, payment, asked).await?)
}

/// What the user may still ask for on this day, where there is a limit.
fn cap(app: &Console, viewer: &Viewer) -> Option<RefundCap> {
    let cap = app.config.console.refund_cap_per_day?;
    Some(RefundCap { api_key: viewer.operator().id, day: app.clock.now().to_beijing()[..8].to_owned(), cap })
}

/// `12.50`
fn yuan(amount: Fen) -> String {
    format!("{}.{:02}", amount.as_i64() / 100, amount.as_i64() % 100)
}

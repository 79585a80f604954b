//! What it would be, then, confirmed, the refund.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::page::{RefundPage, amount, as_entered, field};
use super::target::{Named, Target};
use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::{Fields, Posted};
use crate::console::frame::page;
use crate::console::links;
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
use crate::store::{RefundCap, Right, StoredRefund};

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
    page(&RefundPage::of(
        app,
        viewer,
        (named, &target),
        (&key, &as_entered(target.payment.left, &target.payment.currency)),
    ))
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
    let currency = target.payment.currency.clone();
    let entered = fields.get(field(&currency)).unwrap_or_default();
    let (left, is_confirmed) = (target.payment.left, fields.get("confirm") == Some("1"));
    let refund_no = target.refund_no(viewer, &key);
    let known = app.store.refund(&target.merchant, &refund_no).await?;
    let form = || RefundPage::of(app, viewer, (named, &target), (&key, entered));
    let problem = match amount(entered, &currency) {
        _ if reason.is_empty() => Some(t.reason_needed),
        _ if reason.len() > PAYER_REASON_MAX_BYTES => Some(t.long_reason),
        _ if !is_plain(&reason, PAYER_REASON_MAX_BYTES) => Some(t.plain_reason),
        // What is confirmed is refused where it is recorded, and is in the audit.
        Some(amount) if amount <= left || known.is_some() || is_confirmed => None,
        _ => Some(t.bad_amount(&currency)),
    };
    let (Some(amount), None) = (amount(entered, &currency), problem) else {
        return page(&RefundPage { reason, problem: problem.map(str::to_owned), ..form() });
    };
    let shown = RefundPage { reason: reason.clone(), ..form() };
    if let Some(known) = known {
        return repeated(app, named, shown, &known, amount);
    }
    if let Some(elsewhere) = target.moved(&key) {
        return Ok(flash::redirect(app.shared.jar, &elsewhere, t.moved));
    }
    if !is_confirmed {
        let left_after = Some(Fen::from_i64(left.as_i64() - amount.as_i64()));
        return page(&RefundPage { preview: Some(amount), left_after, ..shown });
    }
    let problem = match recorded(app, viewer, target, (refund_no, amount, reason)).await {
        Ok(Recorded::New(_)) => return Ok(flash::redirect(app.shared.jar, &named.back(), t.refund_done)),
        Ok(Recorded::Known(refund)) => return repeated(app, named, shown, &refund, amount),
        Ok(Recorded::Awaits(_)) => return Ok(flash::redirect(app.shared.jar, links::APPROVALS, t.awaits)),
        Err(Failed::Unconfirmed) => {
            let left_after = Some(Fen::from_i64(left.as_i64() - amount.as_i64()));
            let problem = Some(t.refund_unconfirmed.to_owned());
            let shown = RefundPage { preview: Some(amount), left_after, problem, ..shown };
            return Ok((StatusCode::SERVICE_UNAVAILABLE, page(&shown)?).into_response());
        }
        Err(Failed::Other(Error::RefundCap { left })) => format!("{} {}", t.refund_capped, money::yuan(left.as_i64())),
        Err(Failed::Other(Error::RefundExceeds { .. })) => t.bad_amount(&currency).to_owned(),
        Err(Failed::Other(Error::NotApproved)) => t.not_approved.to_owned(),
        Err(Failed::Other(other)) => return Err(other.into()),
    };
    Ok((StatusCode::CONFLICT, page(&RefundPage { problem: Some(problem), ..shown })?).into_response())
}

/// The answer where the form's key has a refund: the same one, or another, which the form must not be taken for.
fn repeated(
    app: &Console,
    named: &Named,
    shown: RefundPage,
    known: &StoredRefund,
    amount: Fen,
) -> Result<Response, Fault> {
    let t = Texts::of(app.lang);
    let refund = &known.refund;
    // A payment of no order may have one by now.
    let is_same = [refund.order_no.as_ref(), None].into_iter().any(|order_no| {
        let hash = content_hash(order_no, Some(amount), Some(&shown.transaction_id), Some(&shown.reason));
        hash == known.content_hash
    });
    if is_same {
        return Ok(flash::redirect(app.shared.jar, &named.back(), t.refund_known));
    }
    let sum = shown.frame.sum(refund.amount, &shown.currency);
    let problem = Some(format!("{} {} {sum}", t.refund_other, refund.refund_no));
    let shown = RefundPage { key: EventId::new().to_string(), problem, ..shown };
    Ok((StatusCode::CONFLICT, page(&shown)?).into_response())
}

/// Why no refund is known to be recorded.
enum Failed {
    /// WeChat did not say what it holds: nothing was recorded.
    Unconfirmed,
    Other(Error),
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(e: E) -> Failed {
        Failed::Other(e.into())
    }
}

async fn recorded(
    app: &Console,
    viewer: &Viewer,
    Target { merchant, order, payment }: Target,
    (refund_no, amount, reason): (OutRefundNo, Fen, String),
) -> Result<Recorded, Failed> {
    let operator = viewer.operator();
    let merchant = app.config.merchant(merchant.as_str()).ok_or(Error::NotFound("merchant"))?;
    let known = Confirmed { total: payment.paid, currency: payment.currency.clone() };
    let confirmed = if amount <= payment.left { app.confirmed(merchant, &payment).await } else { Ok(known) };
    let about = About::new(&merchant.key, Some(&payment), &refund_no, Some(&reason));
    let Confirmed { total, currency } = match confirmed {
        Err(Error::PaymentDiffers) => {
            audit_refused(app.tools(), &operator, about, "payment_differs").await;
            return Err(Error::PaymentDiffers.into());
        }
        Err(Error::Unavailable { internal }) => {
            tracing::warn!(reason = internal, "A payment of no order is not confirmed: no refund of it is recorded");
            audit_refused(app.tools(), &operator, about, "unconfirmed").await;
            return Err(Failed::Unconfirmed);
        }
        other => other?,
    };
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
        approved: None,
    };
    Ok(record(app.tools(), &operator, merchant, payment, asked).await?)
}

/// What the user may still ask for on this day, where there is a limit.
fn cap(app: &Console, viewer: &Viewer) -> Option<RefundCap> {
    let cap = app.config.console.refund_cap_per_day?;
    Some(RefundCap { api_key: viewer.operator().id, day: app.clock.now().to_beijing()[..8].to_owned(), cap })
}

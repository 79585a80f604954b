//! `POST /v1/orders/{order_no}/refunds` and `POST /v1/payments/{transaction_id}/refunds`: money back.
//!
//! The refund and its reservation are written before the request is answered, here and not by a worker: whether there
//! is enough left must be said now. From then on it goes its way, whether the bus takes the call or the scheduler finds
//! the row. Pending is never called failed: a caller that takes it for that asks again under another number and pays
//! twice.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::request::{RefundOf, RefundRequest, Wanted};
use super::unmatched::Confirmed;
use super::view::RefundJson;
use crate::config::Merchant;
use crate::event::command::Idempotency;
use crate::http::extract::auth::{Authorized, Caller, Refunds};
use crate::http::extract::path::{OrderPath, PaymentPath};
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{MerchantQuery, StrictQuery};
use crate::http::ops::{operator, tools};
use crate::http::orders::create::{asked_wait, idempotency, preference_applied};
use crate::http::orders::get::find;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::money::Fen;
use crate::ops::money::{self, About, RefundRefusal};
use crate::refund::{RefundState, UNCALLED};
use crate::store::{PaidAttempt, StoredRefund};

/// `POST /v1/orders/{order_no}/refunds`
pub async fn of_order(
    app: HttpState,
    caller: Authorized<Refunds>,
    StrictQuery(query): StrictQuery<MerchantQuery>,
    OrderPath(order_no): OrderPath,
    request: Request,
) -> Result<Response, Error> {
    let asker = Asker::read(&app, &caller, request).await?;
    let order = find(&app, &caller, query.merchant.as_deref(), &order_no).await?;
    asker.refund(&app, RefundOf::Order(&order.order)).await
}

/// `POST /v1/payments/{transaction_id}/refunds`: of a payment of an order, as by the order; or of no order.
pub async fn of_payment(
    app: HttpState,
    caller: Authorized<Refunds>,
    StrictQuery(query): StrictQuery<MerchantQuery>,
    PaymentPath(transaction_id): PaymentPath,
    request: Request,
) -> Result<Response, Error> {
    let asker = Asker::read(&app, &caller, request).await?;
    let named = query.merchant.as_deref();
    let merchant = caller.merchant(&app.config, named, |rule| FieldProblem::parameter("merchant", rule))?;
    asker.refund(&app, RefundOf::Payment(&merchant.key, &transaction_id)).await
}

/// Who asks for a refund, with what.
struct Asker<'a> {
    caller: &'a Caller,
    idempotency: Option<Idempotency>,
    posted: Posted,
    /// How long the caller wants to wait, in seconds.
    asked_wait: Option<u64>,
    /// Until when the caller waits.
    deadline: Instant,
}

impl<'a> Asker<'a> {
    async fn read(app: &HttpState, caller: &'a Caller, request: Request) -> Result<Asker<'a>, Error> {
        let asked_wait = asked_wait(request.headers());
        let deadline = Instant::now() + asked_wait.map_or(app.config.server.order_wait, Duration::from_secs);
        let idempotency = idempotency(request.headers(), caller)?;
        let posted = Posted::optional_json(app, request).await?;
        Ok(Asker { caller, idempotency, posted, asked_wait, deadline })
    }

    /// The refund that is asked for: recorded now, or before.
    async fn refund(&self, app: &HttpState, of: RefundOf<'_>) -> Result<Response, Error> {
        let merchant = app.config.merchant(of.merchant().as_str()).ok_or(Error::NotFound("merchant"))?;
        let asked = RefundRequest::parse(&self.posted.body, of, self.caller, self.idempotency.as_ref())?;
        let (stored, is_new) = match app.store.refund(&merchant.key, &asked.refund_no).await? {
            Some(stored) => (stored, false),
            None => app.record(merchant, of, &asked, self).await?,
        };
        let elsewhere = matches!(of, RefundOf::Order(order) if stored.order_id != Some(order.id));
        if elsewhere || stored.content_hash != asked.hash(stored.refund.order_no.as_ref()) {
            return Err(Error::RefundDiffers);
        }
        let stored = app.begun(stored, self.deadline).await?;
        let stored = app.others_known(stored, self.deadline).await?;
        let mut response = answer(app, &stored)?;
        if !is_new && self.idempotency.is_some() {
            response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        preference_applied(&mut response, self.asked_wait);
        Ok(response)
    }
}

impl HttpState {
    /// Records a refund with its reservation and has WeChat called.
    async fn record(
        &self,
        merchant: &Merchant,
        of: RefundOf<'_>,
        asked: &RefundRequest,
        asker: &Asker<'_>,
    ) -> Result<(StoredRefund, bool), Error> {
        let operator = operator(asker.caller, asker.posted.client);
        if merchant.client_cert_file.is_none() {
            let refusal = RefundRefusal::NotConfigured.result();
            money::audit_refused(tools(self), &operator, asked.about(of), refusal).await;
            return Err(Error::RefundsNotConfigured);
        }
        if asked.wanted == Wanted::Unsaid {
            return Err(asked.unsaid());
        }
        let payment = match self.refunded(of, asked).await {
            Err(Error::OrderNotPaid) => {
                money::audit_refused(tools(self), &operator, asked.about(of), "order_not_paid").await;
                return Err(Error::OrderNotPaid);
            }
            other => other?,
        };
        let amount = asked.amount(payment.left);
        let is_left = amount != Fen::ZERO && amount <= payment.left;
        // Of what is refused in any case, WeChat is not asked.
        let known = Confirmed { total: payment.paid, currency: payment.currency.clone() };
        let confirmed = if is_left { self.confirmed(merchant, &payment).await } else { Ok(known) };
        let Confirmed { total, currency } = match confirmed {
            Err(Error::PaymentDiffers) => {
                let about = About::new(&merchant.key, Some(&payment), &asked.refund_no, asked.reason.as_deref());
                money::audit_refused(tools(self), &operator, about, "payment_differs").await;
                return Err(Error::PaymentDiffers);
            }
            other => other?,
        };
        let wanted = money::Asked {
            requested_by: operator.name.clone(),
            refund_no: asked.refund_no.clone(),
            amount,
            total,
            currency,
            reason: asked.reason.clone(),
            content_hash: asked.hash(payment.order_no.as_ref()),
            idempotency: asker.idempotency.clone(),
            cap: asker.caller.refund_cap(self.clock.now()),
        };
        let recorded = money::record(tools(self), &operator, merchant, payment, wanted).await?;
        Ok((recorded.refund, recorded.is_new))
    }

    /// The payment of which money shall go back.
    async fn refunded(&self, of: RefundOf<'_>, asked: &RefundRequest) -> Result<PaidAttempt, Error> {
        let order = match of {
            RefundOf::Order(order) => order,
            RefundOf::Payment(merchant, transaction_id) => {
                let payment = self.store.paid_attempt(merchant, transaction_id).await?;
                return payment.ok_or(Error::NotFound("payment"));
            }
        };
        let counts = order.paid_by.as_ref().map(|paid_by| &paid_by.transaction_id);
        let transaction_id = match (&asked.transaction_id, counts) {
            (Some(transaction_id), _) => transaction_id.clone(),
            (None, Some(counts)) => {
                let now = self.clock.now();
                self.store.refund_target(&order.merchant, &asked.refund_no, order.id, counts, now).await?
            }
            (None, None) => return Err(Error::OrderNotPaid),
        };
        let payment = self.store.paid_attempt(&order.merchant, &transaction_id).await?;
        payment.filter(|payment| payment.order_id == Some(order.id)).ok_or_else(|| {
            Error::Invalid(vec![FieldProblem::member("transaction_id", "is not a payment of this order")])
        })
    }

    /// Waits until WeChat took the refund on, or until nothing can come of waiting.
    async fn begun(&self, stored: StoredRefund, deadline: Instant) -> Result<StoredRefund, Error> {
        let later = deadline.saturating_duration_since(Instant::now());
        self.watch_refund(stored, deadline, |s| {
            let (r, next_at) = (&s.refund, s.refund.queries.next_at);
            // Its call slot, or WeChat's next answer, comes after the caller's deadline.
            let after_the_caller = next_at.is_some_and(|at| at > self.clock.now().after(later));
            let untouched = next_at == Some(r.created_at.after(UNCALLED));
            !r.state.wants_call() || after_the_caller && !untouched
        })
        .await
    }
}

fn answer(app: &HttpState, stored: &StoredRefund) -> Result<Response, Error> {
    let refund = &stored.refund;
    if let (RefundState::Failed, Some(wechat)) = (refund.state, &refund.error) {
        let (refund_no, wechat) = (refund.refund_no.clone(), wechat.clone());
        return Err(Error::RefundFailed { refund_no, wechat, elsewhere: stored.elsewhere });
    }
    let json = axum::Json(RefundJson::new(stored));
    if !refund.state.wants_call() {
        return Ok(json.into_response());
    }
    let mut location = format!("/v1/refunds/{}", refund.refund_no);
    if app.config.merchants.len() > 1 {
        location.push_str(&format!("?merchant={}", refund.merchant));
    }
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], json).into_response())
}

//! `POST /v1/orders/{order_no}/refunds`: money back.
//!
//! The refund and its reservation are written before the request is answered, here and not by a worker: whether there
//! is enough left must be said now. From then on it goes its way, whether the bus takes the call or the scheduler finds
//! the row. Pending is never called failed: a caller that takes it for that asks again under another number and pays
//! twice.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics::counter;
use tokio::time::Instant;

use super::request::{RefundRequest, Wanted};
use super::view::RefundJson;
use crate::config::Merchant;
use crate::event::command::Idempotency;
use crate::event::subject;
use crate::http::extract::auth::{Authorized, Caller, Refunds};
use crate::http::extract::body;
use crate::http::extract::client_addr::client_ip;
use crate::http::extract::path::OrderPath;
use crate::http::extract::query::{MerchantQuery, StrictQuery};
use crate::http::middleware;
use crate::http::orders::create::{asked_wait, idempotency};
use crate::http::orders::get::find;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::new_refund::{RefundSpec, new_refund};
use crate::order::PaymentClass;
use crate::refund::{RefundEvent, RefundOrigin, RefundState, UNCALLED};
use crate::store::{AuditEntry, NewRefund, Reserved, StoredOrder, StoredRefund};
use crate::telemetry::REFUNDS_TOTAL;

/// `POST /v1/orders/{order_no}/refunds`
pub async fn place(
    app: HttpState,
    caller: Authorized<Refunds>,
    StrictQuery(query): StrictQuery<MerchantQuery>,
    OrderPath(order_no): OrderPath,
    request: Request,
) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let wait = asked_wait(&parts.headers).map_or(app.config.server.order_wait, Duration::from_secs);
    let deadline = Instant::now() + wait;
    let idempotency = idempotency(&parts.headers, &caller)?;
    let body = body::read(&parts.headers, body, app.config.server.body_timeout).await?;
    if !body.is_empty() {
        crate::http::orders::create::json_only(&parts.headers)?;
    }
    let order = find(&app, &caller, query.merchant.as_deref(), &order_no).await?;
    let merchant = app.config.merchant(order.order.merchant.as_str()).ok_or(Error::NotFound("merchant"))?;
    let asked = RefundRequest::parse(&body, &order.order, &caller, idempotency.as_ref())?;
    let hash = asked.hash(&order.order.order_no);
    let remote = middleware::remote_ip(&parts.extensions);
    let remote_addr = client_ip(remote, &parts.headers, &app.config.server.trusted_proxies).to_string();
    let idempotent = idempotency.as_ref();
    let asker = Asker { hash: &hash, caller: &caller, idempotency: idempotent, remote_addr: &remote_addr };
    let (stored, is_new) = match app.store.refund(&merchant.key, &asked.refund_no).await? {
        Some(stored) => (stored, false),
        None => match app.record(merchant, &order, &asked, asker).await {
            // The same request at the same time may have been the one that took what was left.
            Err(e @ Error::RefundExceeds { .. }) => {
                (app.store.refund(&merchant.key, &asked.refund_no).await?.ok_or(e)?, false)
            }
            other => other?,
        },
    };
    if stored.content_hash != hash || stored.order_id != order.order.id {
        return Err(Error::RefundDiffers);
    }
    let stored = app.begun(stored, deadline).await?;
    let stored = app.others_known(stored, deadline).await?;
    let mut response = answer(&app, &stored)?;
    if !is_new && idempotency.is_some() {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Who asks for a refund, and what tells a repeat of the request from another one.
#[derive(Clone, Copy)]
struct Asker<'a> {
    hash: &'a str,
    caller: &'a Caller,
    idempotency: Option<&'a Idempotency>,
    /// The client's address, for the audit.
    remote_addr: &'a str,
}

impl HttpState {
    /// Records a refund with its reservation and has WeChat called.
    async fn record(
        &self,
        merchant: &Merchant,
        order: &StoredOrder,
        asked: &RefundRequest,
        asker: Asker<'_>,
    ) -> Result<(StoredRefund, bool), Error> {
        if merchant.client_cert_file.is_none() {
            return Err(Error::RefundsNotConfigured);
        }
        let new = self.wanted(order, asked, asker).await?;
        let reserved = match self.store.record_refund(&new, self.clock.now()).await {
            // Another order took the number at the same moment: it is known now.
            Err(crate::store::DbError::Exists(_)) => self.store.record_refund(&new, self.clock.now()).await?,
            other => other?,
        };
        let stored = match reserved {
            Reserved::New(stored) => *stored,
            Reserved::Known(stored) => return Ok((*stored, false)),
            Reserved::Exceeds { left } => return Err(Error::RefundExceeds { left }),
            Reserved::TooMany => return Err(Error::RefundsUsedUp),
            Reserved::KeyReused => return Err(Error::KeyReused),
            Reserved::Accepted => {
                if let Some(audit) = new.gives_back {
                    self.store.record_audit(&AuditEntry { result: "accepted_meanwhile".into(), ..audit }).await?;
                }
                return Err(Error::PaymentAccepted);
            }
        };
        crate::failpoint::point("refund.recorded");
        let outcome = RefundEvent::Requested.as_str();
        counter!(REFUNDS_TOTAL, "merchant" => merchant.key.to_string(), "outcome" => outcome).increment(1);
        let subject = subject::refund_requested(&merchant.key);
        if let Err(e) = self.publish_refund(&merchant.key, subject, &new.refund_no, false).await {
            // It is recorded: the scheduler will find it, and the caller is answered that it is pending.
            tracing::warn!(refund_no = %new.refund_no, error = e.for_log(), "The call of a refund was not published");
        }
        crate::failpoint::point("refund.published");
        Ok((stored, true))
    }

    async fn wanted(&self, order: &StoredOrder, asked: &RefundRequest, asker: Asker<'_>) -> Result<NewRefund, Error> {
        let counts = order.order.paid_by.as_ref().map(|paid_by| &paid_by.transaction_id);
        if asked.wanted == Wanted::Unsaid {
            return Err(asked.unsaid());
        }
        let transaction_id = match (&asked.transaction_id, counts) {
            (Some(transaction_id), _) => transaction_id.clone(),
            (None, Some(counts)) => {
                let (order, now) = (&order.order, self.clock.now());
                self.store.refund_target(&order.merchant, &asked.refund_no, order.id, counts, now).await?
            }
            (None, None) => return Err(Error::OrderNotPaid),
        };
        let payment = self.store.paid_attempt(order.order.id, &transaction_id).await?.ok_or_else(|| {
            Error::Invalid(vec![FieldProblem::member("transaction_id", "is not a payment of this order")])
        })?;
        let class = payment.class;
        let amount = asked.amount(payment.left);
        if amount == crate::money::Fen::ZERO || amount > payment.left {
            return Err(Error::RefundExceeds { left: payment.left });
        }
        let spec = RefundSpec {
            merchant: order.order.merchant.clone(),
            order_id: order.order.id,
            order_no: order.order.order_no.clone(),
            appid: payment.appid,
            mch_id: payment.mch_id,
            out_trade_no: payment.out_trade_no,
            transaction_id: payment.transaction_id,
            refund_no: asked.refund_no.clone(),
            amount,
            total: payment.paid,
            origin: RefundOrigin::Api,
            reason: asked.reason.clone(),
            requested_by: asker.caller.name().to_owned(),
            content_hash: asker.hash.to_owned(),
            known: None,
        };
        let new = new_refund(&self.config, spec, self.clock.now());
        let new = new.map_err(|e| Error::Internal { internal: e.to_string() })?;
        let gives_back = (class != PaymentClass::Credited).then(|| AuditEntry {
            at: self.clock.now(),
            actor: asker.caller.name().to_owned(),
            remote_addr: asker.remote_addr.to_owned(),
            action: "payment.give_back",
            merchant: order.order.merchant.clone(),
            order_no: Some(order.order.order_no.clone()),
            transaction_id: Some(new.transaction_id.clone()),
            reason: asked.reason.clone().unwrap_or_default(),
            result: "done".to_owned(),
        });
        Ok(NewRefund { gives_back, idempotency: asker.idempotency.cloned(), ..new })
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

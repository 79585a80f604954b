//! `POST /v1/orders`: take an order, and wait a little for its pay parameters.
//!
//! The order is taken once it is in the database (see [`super::take`]). A `202` says so and names a place that answers.
//! The same request again, at the same time or later, at this process or another, ends at the same order.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::pay_params::{Offer, offer, signed};
use super::request::{Asker, OrderRequest};
use super::take::{Taken, take};
use super::view::OrderJson;
use crate::event::command::Idempotency;
use crate::http::change_hub::Seen;
use crate::http::extract::auth::{Authorized, Caller, Orders};
use crate::http::extract::posted::Posted;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::order::OrderState;
use crate::store::StoredOrder;

/// The longest a caller may ask to wait.
const MAX_WAIT_SECONDS: u64 = 30;

pub async fn place(app: HttpState, caller: Authorized<Orders>, request: Request) -> Result<Response, Error> {
    let asked_wait = asked_wait(request.headers());
    let wait = asked_wait.map_or(app.config.server.order_wait, Duration::from_secs);
    let deadline = Instant::now() + wait;
    let idempotency = idempotency(request.headers(), &caller)?;
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let asker = Asker { caller: &caller, ip: client, now: app.clock.now() };
    let asked = OrderRequest::parse(&body, &app.config, asker)?;
    let Taken { order, replayed } = take(&app, &asked, idempotency.as_ref(), deadline).await?;
    crate::failpoint::point("ingress.order_ready");
    let mut response = answer(&app, &order)?;
    if replayed && idempotency.is_some() {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    preference_applied(&mut response, asked_wait);
    Ok(response)
}

impl HttpState {
    /// Waits until `order` can be paid or never will be, at most until `deadline`. A prepay id that is too old is
    /// fetched anew.
    pub(crate) async fn ready(&self, order: Arc<StoredOrder>, deadline: Instant) -> Result<Arc<StoredOrder>, Error> {
        let (merchant, order_no) = (order.order.merchant.clone(), order.order.order_no.clone());
        if offer(&order, self.clock.now()) == Offer::Stale {
            self.renew_prepay(&merchant, &order_no).await?;
        }
        let seen: Seen = Some(Arc::clone(&order));
        let settled = |order: &StoredOrder| match offer(order, self.clock.now()) {
            Offer::Ready(..) | Offer::Nothing => true,
            Offer::Stale | Offer::Pending => false,
        };
        Ok(self.orders.wait(&merchant, &order_no, seen, deadline, settled).await.unwrap_or(order))
    }
}

/// The answer to the business.
fn answer(app: &HttpState, stored: &StoredOrder) -> Result<Response, Error> {
    let now = app.clock.now();
    let order = &stored.order;
    if let (OrderState::Failed, Some(wechat)) = (order.state, &order.failure) {
        return Err(Error::OrderFailed { order_no: order.order_no.clone(), wechat: wechat.clone() });
    }
    let pending = match offer(stored, now) {
        Offer::Ready(..) | Offer::Nothing => false,
        Offer::Stale | Offer::Pending => true,
    };
    let json = axum::Json(OrderJson::whole(stored, signed(&app.config, stored, now)?));
    if !pending {
        return Ok(json.into_response());
    }
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location(app, stored))], json).into_response())
}

/// Where the order is found.
pub(crate) fn location(app: &HttpState, stored: &StoredOrder) -> String {
    let mut location = format!("/v1/orders/{}", stored.order.order_no);
    if app.config.merchants.len() > 1 {
        location.push_str(&format!("?merchant={}", stored.order.merchant));
    }
    location
}

/// `Prefer: wait=N` in seconds, capped.
pub(crate) fn asked_wait(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all("prefer").iter().filter_map(|v| v.to_str().ok());
    let mut preferences = values.flat_map(|v| v.split([',', ';'])).map(str::trim);
    preferences.find_map(|p| {
        let (name, value) = p.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse::<u64>().ok()?;
        name.trim().eq_ignore_ascii_case("wait").then_some(seconds.min(MAX_WAIT_SECONDS))
    })
}

/// Says how long was waited at most, where it was asked for.
pub(crate) fn preference_applied(response: &mut Response, asked_wait: Option<u64>) {
    if let Some(value) = asked_wait.and_then(|n| HeaderValue::from_str(&format!("wait={n}")).ok()) {
        response.headers_mut().insert("preference-applied", value);
    }
}

pub(crate) fn idempotency(headers: &HeaderMap, caller: &Caller) -> Result<Option<Idempotency>, Error> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|text| {
        (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) && values.next().is_none()
    });
    match key {
        Some(key) => Ok(Some(Idempotency { api_key: caller.id().to_owned(), key: key.to_owned() })),
        None => {
            let rule = "must be one key of 1 to 255 visible ASCII characters";
            Err(Error::Invalid(vec![FieldProblem::header("Idempotency-Key", rule)]))
        }
    }
}

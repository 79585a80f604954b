//! `POST /v1/orders/{order_no}/close` and `…/attempts`: what a business may still ask of an open order.
//!
//! The command is durable on the bus before the request is answered. WeChat closes nothing within five minutes of its
//! placing, and an old attempt must take no money before a new one is offered: a close waits for that time by itself
//! (202), a new attempt is refused with the time to wait, because a payer is standing there.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::attempt_request::AttemptRequest;
use super::get::find;
use super::pay_params::{Offer, offer, signed};
use super::view::OrderJson;
use crate::clock::Timestamp;
use crate::event::command::{OrderAttemptRequested, OrderContent};
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::http::extract::auth::{Authorized, Orders};
use crate::http::extract::client_addr::ClientIp;
use crate::http::extract::path::OrderPath;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{MerchantQuery, StrictQuery};
use crate::http::ops::operator;
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ids::OpenId;
use crate::new_order::new_order;
use crate::ops::{Operator, commands};
use crate::order::{CLOSABLE_AFTER, Intent, MAX_REQUESTED_ATTEMPTS, Order, OrderState};
use crate::store::StoredOrder;

/// `POST /v1/orders/{order_no}/close`
pub async fn close(
    app: HttpState,
    caller: Authorized<Orders>,
    StrictQuery(query): StrictQuery<MerchantQuery>,
    ClientIp(client): ClientIp,
    OrderPath(order_no): OrderPath,
) -> Result<Response, Error> {
    let stored = find(&app, &caller, query.merchant.as_deref(), &order_no).await?;
    let stored = match stored.order.state {
        OrderState::Requested | OrderState::Payable => ask_to_close(&app, stored, &operator(&caller, client)).await?,
        OrderState::Paid | OrderState::Closed | OrderState::Failed => stored,
    };
    let status = match stored.order.state {
        // Nothing of it can be paid, which is what was asked for.
        OrderState::Closed | OrderState::Failed => StatusCode::OK,
        OrderState::Paid => return Err(Error::OrderEnded(OrderState::Paid)),
        OrderState::Requested | OrderState::Payable => StatusCode::ACCEPTED,
    };
    let json = axum::Json(OrderJson::whole(&stored, None));
    if status == StatusCode::OK {
        return Ok(json.into_response());
    }
    Ok((status, [(header::LOCATION, crate::http::orders::create::location(&app, &stored))], json).into_response())
}

async fn ask_to_close(
    app: &HttpState,
    stored: Arc<StoredOrder>,
    operator: &Operator,
) -> Result<Arc<StoredOrder>, Error> {
    let (merchant, order_no) = (stored.order.merchant.clone(), stored.order.order_no.clone());
    commands::close((&app.store, &app.bus, &app.clock), operator, &stored.order, None).await?;
    let deadline = Instant::now() + app.config.server.order_wait;
    let now = app.clock.now();
    // There is no use in waiting for what WeChat will not do before its time.
    let as_far_as_it_gets =
        |s: &StoredOrder| !s.order.state.is_open() || s.order.intent.is_some() && closable_at(&s.order) > now;
    let seen = Some(Arc::clone(&stored));
    Ok(app.orders.wait(&merchant, &order_no, seen, deadline, as_far_as_it_gets).await.unwrap_or(stored))
}

/// When the last of its attempts may be closed at WeChat.
pub(crate) fn closable_at(order: &Order) -> Timestamp {
    let live = order.attempts.iter().filter(|a| a.state.is_live());
    live.map(|a| a.created_at.after(CLOSABLE_AFTER)).max().unwrap_or(order.created_at)
}

/// `POST /v1/orders/{order_no}/attempts`
pub async fn attempt(
    app: HttpState,
    caller: Authorized<Orders>,
    StrictQuery(query): StrictQuery<MerchantQuery>,
    OrderPath(order_no): OrderPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, .. } = Posted::json(&app, request).await?;
    let stored = find(&app, &caller, query.merchant.as_deref(), &order_no).await?;
    let default_expiry = app.config.orders.default_expiry;
    let asked = AttemptRequest::parse(&body, &stored, app.clock.now(), default_expiry)?;
    let before = stored.order.attempts.len();
    let stored = app.new_attempt(stored, asked, caller.name()).await?;
    // Until it is opened, what can be paid is the old attempt: another payer's, perhaps, and about to be closed.
    let is_open = stored.order.attempts.len() > before;
    let pay_params = if is_open { signed(&app.config, &stored, app.clock.now())? } else { None };
    let ready = pay_params.is_some();
    let json = axum::Json(OrderJson::whole(&stored, pay_params));
    if ready {
        return Ok(json.into_response());
    }
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, crate::http::orders::create::location(&app, &stored))], json)
        .into_response())
}

impl HttpState {
    /// Has a new attempt opened and waits a little for its parameters. What stands in the way is an error: the order
    /// has ended, is being closed, or WeChat does not close the old attempt yet.
    pub(crate) async fn new_attempt(
        &self,
        stored: Arc<StoredOrder>,
        asked: AttemptRequest,
        by: &str,
    ) -> Result<Arc<StoredOrder>, Error> {
        let (order, now) = (&stored.order, self.clock.now());
        let asked_for = order.intent == Some(Intent::Close);
        let expired = order.state == OrderState::Closed && now >= order.expires_at && !asked_for;
        if !order.state.is_open() && !expired {
            return Err(Error::OrderEnded(order.state));
        }
        if asked_for {
            return Err(Error::OrderClosing);
        }
        if order.has_misfit() {
            return Err(Error::OrderHeld);
        }
        if order.attempts.len() >= MAX_REQUESTED_ATTEMPTS as usize {
            return Err(Error::AttemptsUsedUp);
        }
        if closable_at(order) > now {
            return Err(attempt_open(order, now));
        }
        let (merchant, order_no) = (order.merchant.clone(), order.order_no.clone());
        let before = order.attempts.len();
        let command = OrderAttemptRequested {
            order: asked.content,
            replaces: order.current().map(|a| a.out_trade_no.clone()).ok_or(Error::NotReady)?,
            requested_at: now,
            expires_at: asked.expires_at,
            by: by.to_owned(),
        };
        let about = Some(order_no.to_string());
        let wanted = command.order.clone();
        let envelope = Envelope::new(&merchant, OrderAttemptRequested::TYPE, about, now, command);
        // What WeChat would refuse is refused before it is taken.
        new_order(&self.config, wanted.clone(), envelope.id, now, None)
            .map_err(|e| Error::Internal { internal: format!("attempt of {order_no}: {e}") })?;
        self.publish(subject::order_attempt_requested(&merchant), envelope).await?;
        let deadline = Instant::now() + self.config.server.order_wait;
        let version = order.version;
        let settled = |s: &StoredOrder| match offer(s, self.clock.now()) {
            Offer::Ready(..) => s.order.attempts.len() > before,
            Offer::Nothing => !s.order.state.is_open() && s.order.version != version,
            Offer::Stale | Offer::Pending => false,
        };
        let seen = Some(Arc::clone(&stored));
        let stored = self.orders.wait(&merchant, &order_no, seen, deadline, settled).await.unwrap_or(stored);
        match (stored.order.state, &stored.order.failure) {
            // Of two concurrent requests one was executed, and its parameters are not for the other's payer.
            (OrderState::Requested | OrderState::Payable, _)
                if stored.order.attempts.len() > before && !is_as_wanted(&stored, &wanted) =>
            {
                Err(attempt_open(&stored.order, self.clock.now()))
            }
            (OrderState::Requested | OrderState::Payable, _) => Ok(stored),
            // No worker has handled it yet.
            (OrderState::Closed, _) if stored.order.version == version => Ok(stored),
            (OrderState::Failed, Some(wechat)) => Err(Error::OrderFailed { order_no, wechat: wechat.clone() }),
            (state, _) => Err(Error::OrderEnded(state)),
        }
    }
}

fn attempt_open(order: &Order, now: Timestamp) -> Error {
    let seconds = closable_at(order).since(now).as_secs().saturating_add(1);
    Error::AttemptOpen { closable_in_s: u32::try_from(seconds).unwrap_or(u32::MAX) }
}

/// Whether the newest attempt is paid the way that was asked for, and by that payer.
fn is_as_wanted(stored: &StoredOrder, wanted: &OrderContent) -> bool {
    let openid = stored.params.last().and_then(|params| params.params.get("openid"));
    stored.order.current().is_some_and(|a| a.trade_type == wanted.trade_type)
        && openid.map(String::as_str) == wanted.openid.as_ref().map(OpenId::as_str)
}

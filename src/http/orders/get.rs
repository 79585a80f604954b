//! `GET /v1/orders/{order_no}` and its pay parameters.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::Instant;

use super::attempt_request::AttemptRequest;
use super::pay_params::{Offer, offer, signed};
use super::view::OrderJson;
use crate::clock::Timestamp;
use crate::event::fact::WechatError;
use crate::http::extract::auth::{Authorized, Caller, Orders};
use crate::http::extract::path::OrderPath;
use crate::http::extract::query::{Params, QueryParams, RefreshQuery, StrictQuery};
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ids::OrderNo;
use crate::ops::commands;
use crate::order::{Intent, OrderState};
use crate::store::{OrderMoney, StoredOrder};
use crate::trade::TradeType;

/// How long `?refresh=1` waits for WeChat's answer.
const REFRESH_WAIT: Duration = Duration::from_secs(3);

/// A question of so long ago is not repeated; its answer counts for this one.
const RECENT_MS: i64 = 2_000;

/// The order that a request's path and `?merchant=` name, if the caller may see it.
pub(crate) async fn find(
    app: &HttpState,
    caller: &Caller,
    merchant: Option<&str>,
    order_no: &OrderNo,
) -> Result<Arc<StoredOrder>, Error> {
    let merchant = caller.merchant(&app.config, merchant, |rule| FieldProblem::parameter("merchant", rule))?;
    let order = app.store.order(&merchant.key, order_no).await?;
    order.map(Arc::new).ok_or(Error::NotFound("order"))
}

/// `GET /v1/orders/{order_no}`
pub async fn get(
    app: HttpState,
    caller: Authorized<Orders>,
    StrictQuery(query): StrictQuery<RefreshQuery>,
    OrderPath(order_no): OrderPath,
) -> Result<Response, Error> {
    let order = find(&app, &caller, query.merchant.as_deref(), &order_no).await?;
    if !query.refresh {
        return answer(&app, order, None).await;
    }
    let before = (order.order.version, order.order.queries.answered_at);
    let begun = app.clock.now();
    let order = app.refresh_all(order).await?;
    let mut refresh =
        Refresh { refreshed: before != (order.order.version, order.order.queries.answered_at), said: None };
    if !refresh.refreshed {
        let recently = Timestamp::from_ms(begun.as_ms() - RECENT_MS);
        refresh.said = app.store.last_refusal(order.order.id, recently).await?;
    }
    answer(&app, order, Some(refresh)).await
}

/// What came of asking WeChat.
struct Refresh {
    refreshed: bool,
    /// WeChat's words where it refused the question, also that of a moment before.
    said: Option<WechatError>,
}

/// The order with its payments, refunds and pay parameters.
async fn answer(app: &HttpState, order: Arc<StoredOrder>, refresh: Option<Refresh>) -> Result<Response, Error> {
    let OrderMoney { order, payments, refunds } = if order.order.payments.is_empty() {
        OrderMoney { order, payments: Vec::new(), refunds: Vec::new() }
    } else {
        app.store.with_money(order).await?
    };
    let pay_params = signed(&app.config, &order, app.clock.now())?;
    let json = OrderJson::whole(&order, pay_params).with_money(&payments, &refunds);
    let json = match refresh {
        Some(Refresh { refreshed, said }) => json.refreshed(refreshed, said.as_ref()),
        None => json,
    };
    Ok(axum::Json(json).into_response())
}

pub struct PayParamsQuery {
    merchant: Option<String>,
    trade_type: Option<TradeType>,
}

impl QueryParams for PayParamsQuery {
    const NAMES: &'static [&'static str] = &["merchant", "trade_type"];

    fn read(params: &Params) -> Result<PayParamsQuery, Error> {
        let problem = || FieldProblem::parameter("trade_type", "must be JSAPI, NATIVE, APP or MWEB");
        let parse = |text| TradeType::parse(text).ok_or_else(|| Error::Invalid(vec![problem()]));
        let trade_type = params.get("trade_type").map(parse).transpose()?;
        Ok(PayParamsQuery { merchant: params.owned("merchant"), trade_type })
    }
}

/// `GET /v1/orders/{order_no}/pay-params`
pub async fn pay_params(
    app: HttpState,
    caller: Authorized<Orders>,
    StrictQuery(query): StrictQuery<PayParamsQuery>,
    OrderPath(order_no): OrderPath,
) -> Result<Response, Error> {
    let mut order = find(&app, &caller, query.merchant.as_deref(), &order_no).await?;
    if let (Some(wanted), Some(current)) = (query.trade_type, order.order.current())
        && wanted != current.trade_type
        && order.order.state.is_open()
    {
        let switch = AttemptRequest::switch(&order, wanted, app.clock.now(), app.config.orders.default_expiry)?;
        order = app.new_attempt(order, switch, caller.name()).await?;
        if order.order.current().is_none_or(|a| a.trade_type != wanted) {
            return Err(Error::NotReady);
        }
    }
    let order = app.ready(order, Instant::now() + app.config.server.order_wait).await?;
    let now = app.clock.now();
    let (Some(pay_params), Some(attempt)) = (signed(&app.config, &order, now)?, order.order.current()) else {
        return Err(nothing_to_offer(&order, offer(&order, now)));
    };
    let answer = json!({
        "order_no": order.order.order_no,
        "merchant": order.order.merchant,
        "out_trade_no": attempt.out_trade_no,
        "trade_type": attempt.trade_type,
        "expires_at": order.order.expires_at,
        "pay_params": pay_params,
    });
    Ok(axum::Json(answer).into_response())
}

fn nothing_to_offer(stored: &StoredOrder, offer: Offer<'_>) -> Error {
    let order = &stored.order;
    match (offer, order.state) {
        _ if order.is_blocked() => Error::OrderHeld,
        (_, OrderState::Requested | OrderState::Payable) if order.intent == Some(Intent::Close) => Error::OrderClosing,
        (Offer::Stale | Offer::Pending, _) => Error::NotReady,
        (Offer::Ready(..) | Offer::Nothing, OrderState::Failed) => match &order.failure {
            Some(wechat) => Error::OrderFailed { order_no: order.order_no.clone(), wechat: wechat.clone() },
            None => Error::OrderEnded(order.state),
        },
        (Offer::Ready(..) | Offer::Nothing, OrderState::Paid | OrderState::Closed) => Error::OrderEnded(order.state),
        (Offer::Ready(..) | Offer::Nothing, OrderState::Requested | OrderState::Payable) => Error::OrderExpired,
    }
}

/// Whether no payment is awaited any more.
fn is_settled(order: &StoredOrder) -> bool {
    order.order.state == OrderState::Paid || !order.order.any_live()
}

impl HttpState {
    /// Asks WeChat about an order and waits for what comes of it. Within two seconds of the last question, over the
    /// merchant's budget, and for an order that is paid or of which nothing can be paid any more, it is answered as it
    /// is.
    pub(crate) async fn refresh(&self, order: Arc<StoredOrder>) -> Result<Arc<StoredOrder>, Error> {
        let (merchant, order_no) = (&order.order.merchant, &order.order.order_no);
        let is_asked = !is_settled(&order) && self.may_ask(merchant, order_no);
        if is_asked { self.ask(order).await } else { Ok(order) }
    }

    /// As [`HttpState::refresh`], for a payer.
    pub(crate) async fn refresh_for_payer(&self, order: Arc<StoredOrder>) -> Result<Arc<StoredOrder>, Error> {
        let (merchant, order_no) = (&order.order.merchant, &order.order.order_no);
        let is_asked = !is_settled(&order) && self.may_ask_for_payer(merchant, order_no);
        if is_asked { self.ask(order).await } else { Ok(order) }
    }

    /// As [`HttpState::refresh`], and asks for the refunds of an order that has payments.
    pub(crate) async fn refresh_all(&self, order: Arc<StoredOrder>) -> Result<Arc<StoredOrder>, Error> {
        if !is_settled(&order) {
            return self.refresh(order).await;
        }
        let (merchant, order_no) = (&order.order.merchant, &order.order.order_no);
        // Another system may have been paid under the number of an order that failed.
        let is_asked = !order.order.payments.is_empty() || order.order.state == OrderState::Failed;
        let is_asked = is_asked && self.may_ask_for_refunds(merchant, order_no);
        if is_asked { self.ask(order).await } else { Ok(order) }
    }

    async fn ask(&self, order: Arc<StoredOrder>) -> Result<Arc<StoredOrder>, Error> {
        let (merchant, order_no) = (order.order.merchant.clone(), order.order.order_no.clone());
        commands::ask(&self.bus, &self.clock, &order.order).await?;
        let (version, before) = (order.order.version, order.order.queries.answered_at);
        // The refunds of a payment are learnt behind the change that enters it.
        let has_payments = |now: &StoredOrder| !now.order.payments.is_empty();
        let answered = |now: &StoredOrder| {
            now.order.queries.answered_at != before || now.order.version != version && !has_payments(now)
        };
        let seen = Some(Arc::clone(&order));
        let deadline = Instant::now() + REFRESH_WAIT;
        Ok(self.orders.wait(&merchant, &order_no, seen, deadline, answered).await.unwrap_or(order))
    }
}

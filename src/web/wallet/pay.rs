//! `GET /api/wechat/pay/payWallet?money=`: an order for the session's payer, and what opens WeChat's payment sheet for
//! it.
//!
//! It goes the way of every order: a command on the bus, a worker, WeChat. Which number it has, `offered` says. What
//! must stay true: the payer is always the session's; parameters are signed afresh for each answer.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::order::{WalletSlot, slot_of};
use crate::clock::Timestamp;
use crate::event::command::OrderContent;
use crate::http::orders::pay_params::{Offer, offer, signed};
use crate::http::orders::request::OrderRequest;
use crate::http::orders::take::take;
use crate::money::Fen;
use crate::order::OrderState;
use crate::store::StoredOrder;
use crate::trade::TradeType;
use crate::web::envelope::{Failure, Reason, success};
use crate::web::parameters::Parameters;
use crate::web::session::Session;
use crate::web::state::Browser;
use crate::web::state::WebState;

/// What a payer wants.
struct WalletRequest<'a> {
    session: &'a Session,
    amount: Fen,
    client_ip: String,
}

pub async fn pay_wallet(app: WebState, request: Request) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let browser = app.browser()?;
    // A cookie is sent whichever site navigates the browser here; a bearer token is only sent by who holds it.
    if !parts.headers.contains_key(header::AUTHORIZATION) && !browser.origins.began_here(&parts.headers) {
        return Err(Reason::BadOrigin.into());
    }
    let session = app.required_session(&parts.headers).await?;
    if session.snapshot {
        return Err(Reason::SnapshotUser.into());
    }
    let amount = amount(&app, &Parameters::of(&parts.uri))?;
    let client_ip = app.payer_ip(&parts.extensions, &parts.headers).to_string();
    let deadline = Instant::now() + app.config.server.order_wait;
    let request = WalletRequest { session: &session, amount, client_ip };
    let order = open_order(&app, browser, &request, deadline).await?;
    Ok(success(answer(&app, &order)?))
}

/// A whole number of fen as people write one, within the configured bounds.
fn amount(app: &WebState, parameters: &Parameters) -> Result<Fen, Failure> {
    let web = &app.config.web;
    let amount = Fen::parse_field(parameters.required("money")?).ok();
    amount.filter(|fen| (web.wallet_min_fen..=web.wallet_max_fen).contains(&fen.as_i64())).ok_or_else(|| {
        let rule = format!("must be a whole number of fen from {} to {}", web.wallet_min_fen, web.wallet_max_fen);
        Failure::bad_parameter("money", rule)
    })
}

/// The payer's open order of this amount, placed now if there is none.
async fn open_order(
    app: &WebState,
    browser: &Browser,
    request: &WalletRequest<'_>,
    deadline: Instant,
) -> Result<Arc<StoredOrder>, Failure> {
    let slot = slot_of(app, browser, request.session, request.amount, deadline).await?;
    let order = match app.store.order(&slot.merchant.key, &slot.order_no).await? {
        Some(order) => Arc::new(order),
        None => take(app, &request_for(app, request, slot), None, deadline).await?.order,
    };
    Ok(app.ready(order, deadline).await?)
}

fn request_for(app: &WebState, request: &WalletRequest<'_>, slot: WalletSlot<'_>) -> OrderRequest {
    OrderRequest::from_payer(OrderContent {
        order_no: slot.order_no,
        merchant: slot.merchant.key.clone(),
        app: request.session.app.clone(),
        amount_fen: request.amount,
        description: app.config.web.wallet_description.clone(),
        trade_type: TradeType::Jsapi,
        openid: Some(request.session.openid.clone()),
        client_ip: request.client_ip.clone(),
        product_id: None,
        scene_info: None,
        attach: None,
        expires_at: None,
        metadata: None,
    })
}

/// The complete block for the payment sheet: the page adds nothing to it.
fn answer(app: &WebState, stored: &StoredOrder) -> Result<Value, Failure> {
    let order = &stored.order;
    let Some(mut block) = signed(&app.config, stored, app.clock.now())? else {
        return Err(Failure::about(why_not(stored, app.clock.now()), &order.order_no, order.state.as_str()));
    };
    block.insert("order_no".into(), json!(order.order_no));
    block.insert("state".into(), json!(order.state));
    block.insert("expires_at".into(), json!(order.expires_at));
    Ok(Value::Object(block))
}

fn why_not(stored: &StoredOrder, now: Timestamp) -> Reason {
    match (offer(stored, now), stored.order.state) {
        (Offer::Ready(..) | Offer::Stale | Offer::Pending, _) => Reason::Pending,
        (Offer::Nothing, OrderState::Paid) => Reason::OrderPaid,
        (Offer::Nothing, OrderState::Failed) => Reason::OrderFailed,
        (Offer::Nothing, OrderState::Closed) => Reason::OrderClosed,
        // Its time ran out during this request, or it is being closed: not closed before WeChat says so.
        (Offer::Nothing, OrderState::Requested | OrderState::Payable) => Reason::Pending,
    }
}

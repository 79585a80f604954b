//! `GET /api/wechat/pay/payWallet?money=`: an order for the session's payer, and what opens WeChat's payment sheet for it.
//!
//! It goes the way of every order: a command on the bus, a worker, WeChat. One open order is kept per payer and amount, so
//! that a double click, a reload or a second process offers the same order, freshly signed, and not a second one to pay.
//! What must stay true: the payer is the session's and nobody else; an order is only given up for a new one when it can be
//! paid no more.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::super::offer::{Offer, offer, signed};
use super::super::order_request::OrderRequest;
use super::super::place;
use super::super::routes::App;
use super::failure::{Failure, Reason, success};
use super::parameters::Parameters;
use super::session::Session;
use super::shared::Browser;
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::event::command::OrderContent;
use crate::ids::{AppKey, OrderNo};
use crate::money::Fen;
use crate::order::{OrderState, TradeType};
use crate::secret::random_text;
use crate::store::StoredOrder;

/// An order that ends sooner is not offered again: the payer would be typing a password when it closes.
const MIN_LEFT: Duration = Duration::from_secs(60);

/// What a payer wants.
struct Wish<'a> {
    session: &'a Session,
    merchant: &'a Merchant,
    amount: Fen,
    client_ip: String,
}

/// The route.
pub async fn pay_wallet(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let browser = app.browser()?;
    if !browser.origins.began_here(&parts.headers) {
        return Err(Reason::BadOrigin.into());
    }
    let session = browser.sessions.required(&parts.headers, &app.config, app.clock.now())?;
    if session.snapshot {
        return Err(Reason::SnapshotUser.into());
    }
    let amount = amount(&app, &Parameters::of(&parts.uri))?;
    let merchant = merchant_of(&app, &session.app)?;
    let client_ip = app.payer_ip(&parts.extensions, &parts.headers).to_string();
    let deadline = Instant::now() + app.config.server.order_wait;
    let wish = Wish { session: &session, merchant, amount, client_ip };
    let order = open_order(&app, browser, &wish, deadline).await?;
    Ok(success(answer(&app, &order)?))
}

/// A whole number of fen as people write one, within the configured bounds.
fn amount(app: &App, parameters: &Parameters) -> Result<Fen, Failure> {
    let web = &app.config.web;
    let amount = Fen::parse_field(parameters.required("money")?).ok();
    amount.filter(|fen| (web.wallet_min_fen..=web.wallet_max_fen).contains(&fen.as_i64())).ok_or_else(|| {
        let rule = format!("must be a whole number of fen from {} to {}", web.wallet_min_fen, web.wallet_max_fen);
        Failure::bad_parameter("money", rule)
    })
}

/// The first merchant that takes orders of this app.
fn merchant_of<'a>(app: &'a App, key: &AppKey) -> Result<&'a Merchant, Failure> {
    let merchant = app.config.merchants.iter().find(|merchant| merchant.apps.contains(key));
    merchant.ok_or_else(|| Reason::NotOpen.into())
}

/// The payer's open order of this amount, placed now if there is none.
async fn open_order(
    app: &App,
    browser: &Browser,
    wish: &Wish<'_>,
    deadline: Instant,
) -> Result<Arc<StoredOrder>, Failure> {
    let number = promised(app, browser, wish).await?;
    let order = match app.store.order(&wish.merchant.key, &number).await? {
        Some(order) => Arc::new(order),
        // New, or another request is placing it, or that one died before it could: placing it twice is once.
        None => place::take(app, &request_for(app, wish, number), None, deadline).await?,
    };
    Ok(app.ready(order, deadline).await?)
}

/// The number that this payer is offered for this amount, in whichever process they ask.
async fn promised(app: &App, browser: &Browser, wish: &Wish<'_>) -> Result<OrderNo, Failure> {
    let payer = (wish.session.app.clone(), wish.session.openid.clone());
    // So that of clicks at once only one counts as a new order.
    let _turn = browser.clicks.turn(&payer).await;
    let (key, openid) = (&payer.0, &payer.1);
    let offered = app.store.wallet_order(key, openid, wish.amount).await?;
    let now = app.clock.now();
    if let Some(number) = &offered {
        let known = app.store.order(&wish.merchant.key, number).await?;
        if known.is_none_or(|order| is_open(&order, now)) {
            return Ok(number.clone());
        }
    }
    browser.new_orders.take(&payer).map_err(Failure::too_many)?;
    let new = fresh_number(now)?;
    let stands = app.store.offer_wallet_order(key, openid, wish.amount, offered.as_ref(), &new, now).await?;
    if stands != new {
        // Another process was faster.
        browser.new_orders.give_back(&payer);
    }
    Ok(stands)
}

/// Whether a payer may be sent to this order again.
fn is_open(stored: &StoredOrder, now: Timestamp) -> bool {
    // The business may have given it an attempt of another kind meanwhile, which no page can pay.
    if stored.order.current().is_some_and(|attempt| attempt.trade_type != TradeType::Jsapi) {
        return false;
    }
    match offer(stored, now) {
        Offer::Ready(..) | Offer::Stale | Offer::Pending => now.after(MIN_LEFT) < stored.order.expires_at,
        Offer::Nothing => false,
    }
}

/// A number that nobody can guess and that sorts by its day.
fn fresh_number(now: Timestamp) -> Result<OrderNo, Failure> {
    let day: String = now.to_beijing().chars().take(8).collect();
    OrderNo::parse(format!("W{day}{}", random_text(22))).map_err(|e| Failure::because(Reason::Internal, e.to_string()))
}

fn request_for(app: &App, wish: &Wish<'_>, order_no: OrderNo) -> OrderRequest {
    OrderRequest::from_payer(OrderContent {
        order_no,
        merchant: wish.merchant.key.clone(),
        app: wish.session.app.clone(),
        amount_fen: wish.amount,
        description: app.config.web.wallet_description.clone(),
        trade_type: TradeType::Jsapi,
        openid: Some(wish.session.openid.clone()),
        client_ip: wish.client_ip.clone(),
        product_id: None,
        scene_info: None,
        attach: None,
        expires_at: None,
        metadata: None,
    })
}

/// The complete block for the payment sheet: the page adds nothing to it.
fn answer(app: &App, stored: &StoredOrder) -> Result<Value, Failure> {
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
        (Offer::Nothing, OrderState::Closed | OrderState::Requested | OrderState::Payable) => Reason::OrderClosed,
    }
}

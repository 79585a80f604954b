//! `order.requested`: record the order with its first attempt, then place it at WeChat.
//!
//! The row, with every parameter that will be signed, is committed before WeChat is called. Whatever dies afterwards,
//! the repeat sends the same number with the same parameters.

use std::net::IpAddr;
use std::time::Duration;

use super::context::Context;
use super::place::{Target, place};
use crate::bus::{Delivery, Verdict};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::event::command::{Idempotency, OrderContent, OrderRequested, PrepayDue};
use crate::event::envelope::Envelope;
use crate::group::{Group, GroupError, Limits};
use crate::ids::OutTradeNo;
use crate::order::TradeType;
use crate::store::{AttemptParams, DbError, DbKind, NewOrder, Recorded, Store};
use crate::wechat::v2::unified_order::{Trade, UnifiedOrder, params, problems};

/// Orders recorded in one transaction.
const MAX_BATCH: usize = 128;

/// Why an order cannot be recorded as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NewOrderError {
    /// The configuration has no such merchant or app.
    #[error("no merchant or app of that name is configured")]
    NotConfigured,
    /// A field breaks WeChat's rules.
    #[error("{0}")]
    Invalid(String),
}

/// Records orders in groups.
pub struct Recorder {
    group: Group<NewOrder, Result<Recorded, RecordError>>,
}

/// Why an order was not recorded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// Its number at WeChat belongs to another order here.
    #[error("the number {0} is taken by another order")]
    NumberTaken(OutTradeNo),
    /// The database did not take it; try again later.
    #[error("{0}")]
    Store(String),
    /// The program is ending.
    #[error(transparent)]
    Group(#[from] GroupError),
}

impl Recorder {
    /// Over a store.
    pub fn new(store: Store) -> Recorder {
        let lanes = match store.db().kind() {
            DbKind::Sqlite => 1,
            DbKind::Postgres => 4,
        };
        let limits = Limits { max_batch: MAX_BATCH, queue: 4 * MAX_BATCH, lanes };
        let run = move |orders: Vec<NewOrder>| {
            let store = store.clone();
            async move { record_all(&store, orders).await }
        };
        Recorder { group: Group::new(limits, run) }
    }

    async fn record(&self, order: NewOrder) -> Result<Recorded, RecordError> {
        self.group.run(order).await?
    }
}

async fn record_all(store: &Store, orders: Vec<NewOrder>) -> Vec<Result<Recorded, RecordError>> {
    match store.record_orders(&orders).await {
        Ok(recorded) => return recorded.into_iter().map(Ok).collect(),
        Err(DbError::Exists(_)) => {}
        Err(e) => {
            let why = e.to_string();
            return orders.iter().map(|_| Err(RecordError::Store(why.clone()))).collect();
        }
    }
    // One of them has a number that another order's attempt has: find it, let the others through.
    let mut results = Vec::with_capacity(orders.len());
    for order in orders {
        results.push(match store.record_orders(std::slice::from_ref(&order)).await {
            Ok(recorded) => recorded.first().copied().ok_or_else(|| RecordError::Store("no result".into())),
            Err(DbError::Exists(_)) => Err(RecordError::NumberTaken(order.out_trade_no)),
            Err(e) => Err(RecordError::Store(e.to_string())),
        });
    }
    results
}

/// Handles one requested order.
pub async fn requested(ctx: &Context, delivery: Delivery) -> Verdict {
    let event = match Envelope::<OrderRequested>::parse(&delivery.message.payload) {
        Ok(event) => event,
        Err(e) => return Verdict::Park { reason: "malformed", why: e.to_string() },
    };
    let OrderRequested { order: content, requested_at, idempotency } = event.data;
    let (merchant, order_no) = (content.merchant.clone(), content.order_no.clone());
    let order = match new_order(&ctx.config, content, requested_at, idempotency) {
        Ok(order) => order,
        Err(e) => return Verdict::Park { reason: "invalid_order", why: e.to_string() },
    };
    let target = Target::first(&order);
    crate::crash::point("worker.order_parsed");
    match ctx.recorder.record(order).await {
        Ok(Recorded::New) => {
            crate::crash::point("worker.order_recorded");
            place(ctx, target, false).await
        }
        // Either the first delivery died on its way, or the row was made by the ingress for its Location.
        Ok(Recorded::Same) => match ctx.store.order(&merchant, &order_no).await {
            Ok(Some(stored)) => match Target::current(&stored) {
                Some(target) => place(ctx, target, true).await,
                None => Verdict::Done,
            },
            Ok(None) => Verdict::Retry { after: Duration::from_secs(1), why: "the order is gone".into() },
            Err(e) => Verdict::Retry { after: Duration::from_secs(1), why: e.to_string() },
        },
        // The caller finds the other order under its number and is told so by the ingress.
        Ok(Recorded::Differs) => Verdict::Done,
        Err(e @ RecordError::NumberTaken(_)) => Verdict::Park { reason: "number_taken", why: e.to_string() },
        Err(e @ (RecordError::Store(_) | RecordError::Group(_))) => {
            Verdict::Retry { after: Duration::from_secs(1), why: e.to_string() }
        }
    }
}

/// Handles `order.prepay_due`: the prepay id is old; WeChat gives a fresh one for the same number and parameters.
pub async fn prepay_due(ctx: &Context, delivery: Delivery) -> Verdict {
    let event = match Envelope::<PrepayDue>::parse(&delivery.message.payload) {
        Ok(event) => event,
        Err(e) => return Verdict::Park { reason: "malformed", why: e.to_string() },
    };
    let Some(merchant) = super::handlers::merchant_of(ctx, &delivery.message.subject) else {
        return Verdict::Park { reason: "unknown_merchant", why: "no such merchant is configured".into() };
    };
    match ctx.store.order(&merchant.key, &event.data.order_no).await {
        Ok(Some(stored)) => match Target::renewable(&stored) {
            Some(target) => place(ctx, target, true).await,
            None => Verdict::Done,
        },
        Ok(None) => Verdict::Park { reason: "unknown_order", why: "no such order".into() },
        Err(e) => Verdict::Retry { after: Duration::from_secs(1), why: e.to_string() },
    }
}

/// An order as it will be recorded: its expiry, its first attempt, and what WeChat will be sent.
pub fn new_order(
    config: &Config,
    content: OrderContent,
    requested_at: Timestamp,
    idempotency: Option<Idempotency>,
) -> Result<NewOrder, NewOrderError> {
    let merchant = config.merchant(content.merchant.as_str()).ok_or(NewOrderError::NotConfigured)?;
    let app = config.app(content.app.as_str()).ok_or(NewOrderError::NotConfigured)?;
    if !merchant.apps.contains(&app.key) {
        return Err(NewOrderError::NotConfigured);
    }
    let expires_at = content.expires_at.unwrap_or_else(|| requested_at.after(config.orders.default_expiry));
    let out_trade_no = OutTradeNo::for_attempt(&content.order_no, 1);
    let spbill_create_ip: IpAddr =
        content.client_ip.parse().map_err(|_| NewOrderError::Invalid("client_ip is not an IP address".into()))?;
    let order = UnifiedOrder {
        appid: app.app_id.clone(),
        mch_id: merchant.mch_id.clone(),
        sign_type: merchant.sign_type,
        out_trade_no: out_trade_no.clone(),
        total_fee: content.amount_fen,
        body: content.description.clone(),
        spbill_create_ip,
        time_start: requested_at,
        time_expire: expires_at,
        notify_url: format!("{}/notify/{}/pay", config.server.public_url, merchant.key),
        trade: trade(&content)?,
        attach: content.attach.clone(),
        device_info: None,
    };
    if let Some(problem) = problems(&order).first() {
        return Err(NewOrderError::Invalid(problem.to_string()));
    }
    Ok(NewOrder {
        content_hash: content.hash(),
        content,
        created_at: requested_at,
        expires_at,
        out_trade_no,
        mch_id: order.mch_id.clone(),
        appid: order.appid.clone(),
        params: AttemptParams { params: params(&order), sign_type: merchant.sign_type.as_str().into() },
        idempotency,
    })
}

fn trade(content: &OrderContent) -> Result<Trade, NewOrderError> {
    let missing = |what: &str| NewOrderError::Invalid(format!("{what} is missing"));
    Ok(match content.trade_type {
        TradeType::Jsapi => Trade::Jsapi { openid: content.openid.clone().ok_or_else(|| missing("openid"))? },
        TradeType::Native => {
            Trade::Native { product_id: content.product_id.clone().ok_or_else(|| missing("product_id"))? }
        }
        TradeType::App => Trade::App,
        TradeType::Mweb => {
            let scene_info = content.scene_info.as_ref().ok_or_else(|| missing("scene_info"))?;
            Trade::Mweb { scene_info: scene_info.to_string() }
        }
    })
}

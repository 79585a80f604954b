//! From what a business asks for to what is recorded and what WeChat will be sent. Pure: the worker and the ingress get
//! the same rows from the same request. And how the ingress has it placed by the workers of its own process.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::event::command::{Idempotency, OrderContent, OrderRequested};
use crate::event::envelope::Envelope;
use crate::ids::{EventId, OutTradeNo};
use crate::store::{AttemptParams, NewOrder, RecordedRow, StoredOrder};
use crate::trade::TradeType;
use crate::wechat::v2::unified_order::{Trade, UnifiedOrder, params, problems};

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

/// An order as it will be recorded: its expiry, its first attempt, and what WeChat will be sent. `requested_by` is the
/// event that asks for it, and the only one whose deliveries will place it.
pub fn new_order(
    config: &Config,
    content: OrderContent,
    requested_by: EventId,
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
        requested_by,
        created_at: requested_at,
        expires_at,
        out_trade_no,
        mch_id: order.mch_id.clone(),
        appid: order.appid.clone(),
        params: AttemptParams { params: params(&order), sign_type: merchant.sign_type.as_str().into() },
        idempotency,
        placing_until: None,
    })
}

/// Room for placing one order in this process. Dropping it gives the room back.
pub struct Slot {
    /// How long the claim holds under which the order is to be recorded, from before this slot was given.
    pub lease: Duration,
    place: Box<dyn FnOnce(NewOrder, RecordedRow, Envelope<OrderRequested>) -> Placing + Send>,
}

/// An order on its way to WeChat and back: the order as WeChat's answer left it, once that is durable; nothing where
/// there is no answer or another process has it.
pub type Placing = BoxFuture<'static, Option<StoredOrder>>;

impl Slot {
    pub fn new(
        lease: Duration,
        place: impl FnOnce(NewOrder, RecordedRow, Envelope<OrderRequested>) -> Placing + Send + 'static,
    ) -> Slot {
        Slot { lease, place: Box::new(place) }
    }

    /// Places an order that was just recorded under a claim; `command` is what asks a worker for the same.
    pub fn place(self, order: NewOrder, row: RecordedRow, command: Envelope<OrderRequested>) -> Placing {
        (self.place)(order, row, command)
    }
}

/// The workers of this process, as the HTTP side sees them.
pub trait PlaceHere: Send + Sync {
    /// Room for one more order; none where this process places as many as it may, or ends.
    fn slot(&self) -> Option<Slot>;
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

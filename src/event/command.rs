//! What the ingress and the scheduler ask of the workers.

use serde::{Deserialize, Serialize};

use super::envelope::EventData;
use crate::clock::Timestamp;
use crate::ids::{AppKey, MerchantKey, OpenId, OrderNo, OutRefundNo, OutTradeNo};
use crate::money::Fen;
use crate::trade::TradeType;

/// What a business wants paid: the validated content of `POST /v1/orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderContent {
    pub order_no: OrderNo,
    pub merchant: MerchantKey,
    pub app: AppKey,
    pub amount_fen: Fen,
    /// Shown to the payer; WeChat's `body`.
    pub description: String,
    pub trade_type: TradeType,
    /// The payer (JSAPI).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<OpenId>,
    /// The payer's address.
    pub client_ip: String,
    /// The product (NATIVE).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_id: Option<String>,
    /// Where the payer is (MWEB), as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scene_info: Option<serde_json::Value>,
    /// Returned by WeChat in notifications and bills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<String>,
    /// Until when it may be paid, if the business says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The business's own data, returned as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
}

impl OrderContent {
    /// A hash that two requests share exactly when they ask for the same order.
    pub fn hash(&self) -> String {
        // serde_json writes struct fields in order and map keys sorted, so equal contents give equal texts.
        let text = serde_json::to_vec(self).unwrap_or_default();
        crate::secret::sha256_hex(&text)
    }
}

/// `order.requested`: record this order and place it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderRequested {
    pub order: OrderContent,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// The caller's `Idempotency-Key`, with the client it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

/// A caller's own name for a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The client: the `id` of its API keys.
    pub api_key: String,
    pub key: String,
}

/// `order.prepay_due`: fetch a fresh prepay id for the current attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PrepayDue {
    pub order_no: OrderNo,
}

/// `order.close_requested`: close the order at WeChat, then here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderCloseRequested {
    pub order_no: OrderNo,
    /// Who asks: the name of an API key.
    pub by: String,
}

/// `order.attempt_requested`: close what can be paid of the order, then open a new attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderAttemptRequested {
    /// The order's content with the new attempt's way to pay and expiry.
    pub order: OrderContent,
    /// The attempt it takes the place of: what was asked for once is not done twice.
    pub replaces: OutTradeNo,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// Until when the order may be paid then.
    pub expires_at: Timestamp,
    /// Who asks: the name of an API key.
    pub by: String,
}

/// `query.due`: ask WeChat about the order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueryDue {
    pub order_no: OrderNo,
    /// An out-of-schedule query for a waiting caller; the order's own poll schedule is unchanged.
    #[serde(default)]
    pub refresh: bool,
}

/// `notify.received`: bytes WeChat posted, kept whole. The ingress's verdict is not part of it: the worker verifies
/// again.
#[derive(Clone, Serialize, Deserialize)]
pub struct NotifyReceived {
    /// The body, base64.
    #[serde(with = "base64_bytes")]
    pub body: Vec<u8>,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    pub remote_addr: String,
    pub received_at: Timestamp,
    /// To which of the merchant's two addresses.
    #[serde(default)]
    pub kind: NoticeKind,
}

/// What WeChat tells of at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    #[default]
    Pay,
    Refund,
}

/// `refund.requested` for one that was just recorded, `refund.due` later: call WeChat for the refund, or ask about it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefundDue {
    pub refund_no: OutRefundNo,
    /// Whether this is read-only: WeChat is queried and the refund is not submitted.
    #[serde(default)]
    pub only_ask: bool,
}

/// A raw body has no place in a log.
impl std::fmt::Debug for NotifyReceived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotifyReceived").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl EventData for OrderRequested {
    const TYPE: &'static str = "wxpay.order.requested.v1";
}
impl EventData for PrepayDue {
    const TYPE: &'static str = "wxpay.order.prepay_due.v1";
}
impl EventData for OrderCloseRequested {
    const TYPE: &'static str = "wxpay.order.close_requested.v1";
}
impl EventData for OrderAttemptRequested {
    const TYPE: &'static str = "wxpay.order.attempt_requested.v1";
}
impl EventData for QueryDue {
    const TYPE: &'static str = "wxpay.query.due.v1";
}
impl EventData for RefundDue {
    const TYPE: &'static str = "wxpay.refund.due.v1";
}
impl EventData for NotifyReceived {
    const TYPE: &'static str = "wxpay.notify.received.v1";
}

mod base64_bytes {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

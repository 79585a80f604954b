//! The order as callers see it. The payer's openid, our keys and WeChat's handles never appear in it.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::event::fact::WechatError;
use crate::http::payments::view::PaymentJson;
use crate::http::problem::wechat_json;
use crate::http::refunds::view::RefundJson;
use crate::ids::OutTradeNo;
use crate::money::Fen;
use crate::order::{AttemptState, CNY, Intent, OrderState};
use crate::store::{StoredOrder, StoredPayment, StoredRefund};
use crate::trade::TradeType;

/// The JSON of an order.
#[derive(Debug, Serialize)]
pub struct OrderJson<'a> {
    order_no: &'a str,
    merchant: &'a str,
    app: &'a str,
    state: OrderState,
    /// `close` or `new_attempt`: what was asked for and waits for WeChat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<&'static str>,
    flags: Vec<&'static str>,
    amount_fen: Fen,
    currency: &'static str,
    description: &'a str,
    refunded_fen: Fen,
    transaction_id: Option<&'a str>,
    created_at: Timestamp,
    updated_at: Timestamp,
    expires_at: Timestamp,
    paid_at: Option<Timestamp>,
    /// Whether `order.paid` was emitted: deliver on this, not on the state.
    credited: bool,
    wechat: Option<Value>,
    attach: Option<&'a str>,
    metadata: Option<&'a Value>,
    attempts: Vec<AttemptJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payments: Option<Vec<PaymentJson<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refunds: Option<Vec<RefundJson<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pay_params: Option<Value>,
    /// Whether WeChat answered for this reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    refreshed: Option<bool>,
}

#[derive(Debug, Serialize)]
struct AttemptJson<'a> {
    out_trade_no: &'a OutTradeNo,
    trade_type: TradeType,
    state: AttemptState,
}

impl<'a> OrderJson<'a> {
    /// For those who follow an order: without pay parameters and order token.
    pub fn state(stored: &'a StoredOrder) -> OrderJson<'a> {
        let order = &stored.order;
        OrderJson {
            order_no: order.order_no.as_str(),
            merchant: order.merchant.as_str(),
            app: order.app.as_str(),
            state: order.state,
            pending: order.intent.filter(|_| order.state.is_open()).map(|intent| match intent {
                Intent::Close => "close",
                Intent::NewAttempt { .. } => "new_attempt",
            }),
            flags: order.flags.names(),
            amount_fen: order.amount,
            currency: CNY,
            description: &stored.content.description,
            refunded_fen: stored.refunded,
            transaction_id: order.paid_by.as_ref().map(|p| p.transaction_id.as_str()),
            created_at: order.created_at,
            updated_at: stored.updated_at,
            expires_at: order.expires_at,
            paid_at: order.paid_by.as_ref().map(|p| p.paid_at),
            credited: order.paid_reported,
            wechat: order.said().map(wechat_json),
            attach: stored.content.attach.as_deref(),
            metadata: stored.content.metadata.as_ref(),
            attempts: order
                .attempts
                .iter()
                .map(|a| AttemptJson { out_trade_no: &a.out_trade_no, trade_type: a.trade_type, state: a.state })
                .collect(),
            payments: None,
            refunds: None,
            order_token: None,
            pay_params: None,
            refreshed: None,
        }
    }

    /// For a payer's page: without what the business keeps for itself.
    pub fn of_payer(stored: &'a StoredOrder) -> OrderJson<'a> {
        OrderJson { metadata: None, ..OrderJson::state(stored) }
    }

    /// With the order's payments and refunds, oldest first.
    pub fn with_money(self, payments: &'a [StoredPayment], refunds: &'a [StoredRefund]) -> OrderJson<'a> {
        let payments = Some(payments.iter().map(PaymentJson::new).collect());
        OrderJson { payments, refunds: Some(refunds.iter().map(RefundJson::new).collect()), ..self }
    }

    /// Says whether WeChat answered, where it was to be asked.
    pub fn refreshed(self, refreshed: bool, said: Option<&WechatError>) -> OrderJson<'a> {
        OrderJson { refreshed: Some(refreshed), wechat: said.map(wechat_json).or(self.wechat), ..self }
    }

    /// For the business: with the token of its stream and, where it can be paid, the parameters (`null` where not).
    pub fn whole(stored: &'a StoredOrder, pay_params: Option<Map<String, Value>>) -> OrderJson<'a> {
        OrderJson {
            order_token: Some(stored.order_token.expose()),
            pay_params: Some(json!(pay_params)),
            ..OrderJson::state(stored)
        }
    }
}

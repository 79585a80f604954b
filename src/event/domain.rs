//! What we tell the world. A JSON Schema per type is in `docs/events/`; within `v1` fields are only ever added.

use serde::Serialize;

pub use super::bill::{BillFailed, BillMismatch, BillReconciled, BillSums, CurrencySums, LedgerSums};
use super::fact::WechatError;
use crate::clock::Timestamp;
use crate::ids::{AppKey, EventId, MerchantKey, OrderNo, OutRefundNo, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::trade::TradeType;

use super::envelope::Envelope;
use super::subject;

/// An event for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainEvent {
    pub merchant: MerchantKey,
    /// About which order, where there is one.
    pub order_no: Option<OrderNo>,
    pub data: DomainData,
}

/// What happened, by type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum DomainData {
    OrderPayable(OrderPayable),
    OrderPaid(OrderPaid),
    OrderPaidLate(OrderSurplus),
    OrderPaidTwice(OrderSurplus),
    OrderClosed(OrderEnded),
    OrderFailed(OrderEnded),
    RefundRequested(RefundEventData),
    RefundDelayed(RefundEventData),
    RefundSucceeded(RefundEventData),
    RefundAbnormal(RefundEventData),
    RefundFailed(RefundFailed),
    PaymentHeld(PaymentHeld),
    PaymentAccepted(OrderPaid),
    PaymentOrphaned(PaymentOrphaned),
    NotificationRejected(NotificationRejected),
    DeadLetterParked(DeadLetterParked),
    AppDegraded(AppTrouble),
    AppRecovered(AppTrouble),
    MerchantDegraded(MerchantTrouble),
    MerchantRecovered(MerchantTrouble),
    WebhookDisabled(WebhookDisabled),
    ApprovalWaiting(ApprovalWaiting),
    BillReconciled(BillReconciled),
    BillMismatchFound(BillMismatch),
    BillFailed(BillFailed),
}

impl DomainData {
    /// `entity.fact`, the end of the subject and the middle of the type.
    pub const fn entity_fact(&self) -> &'static str {
        match self {
            DomainData::OrderPayable(_) => "order.payable",
            DomainData::OrderPaid(_) => "order.paid",
            DomainData::OrderPaidLate(_) => "order.paid_late",
            DomainData::OrderPaidTwice(_) => "order.paid_twice",
            DomainData::OrderClosed(_) => "order.closed",
            DomainData::OrderFailed(_) => "order.failed",
            DomainData::RefundRequested(_) => "refund.requested",
            DomainData::RefundDelayed(_) => "refund.delayed",
            DomainData::RefundSucceeded(_) => "refund.succeeded",
            DomainData::RefundAbnormal(_) => "refund.abnormal",
            DomainData::RefundFailed(_) => "refund.failed",
            DomainData::PaymentHeld(_) => "payment.held",
            DomainData::PaymentAccepted(_) => "payment.accepted",
            DomainData::PaymentOrphaned(_) => "payment.orphaned",
            DomainData::NotificationRejected(_) => "notification.rejected",
            DomainData::DeadLetterParked(_) => "dead_letter.parked",
            DomainData::AppDegraded(_) => "app.degraded",
            DomainData::AppRecovered(_) => "app.recovered",
            DomainData::MerchantDegraded(_) => "merchant.degraded",
            DomainData::MerchantRecovered(_) => "merchant.recovered",
            DomainData::WebhookDisabled(_) => "webhook.disabled",
            DomainData::ApprovalWaiting(_) => "approval.waiting",
            DomainData::BillReconciled(_) => "bill.reconciled",
            DomainData::BillMismatchFound(_) => "bill.mismatch_found",
            DomainData::BillFailed(_) => "bill.failed",
        }
    }
}

/// An event as it will travel: id and JSON fixed once and for all.
#[derive(Debug, Clone)]
pub struct EncodedEvent {
    pub id: EventId,
    pub merchant: MerchantKey,
    /// About which order.
    pub order_no: Option<OrderNo>,
    /// Where it is published.
    pub subject: String,
    pub event_type: String,
    /// The CloudEvent as JSON.
    pub payload: String,
    /// When it happened here.
    pub time: Timestamp,
}

impl DomainEvent {
    /// Gives the event its id and its final JSON.
    pub fn encode(self, time: Timestamp) -> EncodedEvent {
        let entity_fact = self.data.entity_fact();
        let event_type = format!("wxpay.{entity_fact}.v1");
        let about = self.order_no.as_ref().map(ToString::to_string);
        let envelope = Envelope::new(&self.merchant, event_type.clone(), about, time, &self.data);
        EncodedEvent {
            id: envelope.id,
            subject: subject::news(&self.merchant, entity_fact),
            event_type,
            // The types here hold only texts, numbers and options: they always have a JSON form.
            payload: envelope.to_json().unwrap_or_default(),
            merchant: self.merchant,
            order_no: self.order_no,
            time,
        }
    }
}

/// A payer can pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderPayable {
    pub order_no: OrderNo,
    pub app: AppKey,
    pub amount_fen: Fen,
    /// Always CNY.
    pub currency: &'static str,
    /// The attempt's number at WeChat.
    pub out_trade_no: OutTradeNo,
    pub trade_type: TradeType,
    pub expires_at: Timestamp,
}

/// Money arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderPaid {
    pub order_no: OrderNo,
    pub app: AppKey,
    /// How much was paid, WeChat's `total_fee`: the order's amount, unless a payment of another one was accepted.
    pub amount_fen: Fen,
    /// The order's amount.
    pub order_amount_fen: Fen,
    /// Whether an operator accepted a payment that was held.
    pub accepted: bool,
    /// Always CNY.
    pub currency: &'static str,
    /// The attempt's number at WeChat.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    pub trade_type: TradeType,
    /// When WeChat took the money.
    pub paid_at: Timestamp,
    /// What the payer paid in cash, where WeChat says so.
    pub cash_fee_fen: Option<Fen>,
    /// What will be settled, where coupons make it differ.
    pub settlement_total_fee_fen: Option<Fen>,
    /// The coupons that paid a part, where WeChat names them.
    pub coupons: Vec<PaidCoupon>,
    /// WeChat's name of the payer's bank.
    pub bank_type: Option<String>,
    /// How we learnt of it: `notification` or `query`; `request` where an operator accepted it.
    pub learnt_by: &'static str,
    /// What the payer was shown.
    pub description: String,
    /// As the business gave it.
    pub attach: Option<String>,
    /// As the business gave it.
    pub metadata: Option<serde_json::Value>,
}

/// What one coupon paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaidCoupon {
    /// WeChat's number of it.
    pub coupon_id: String,
    /// `CASH` or `NO_CASH`, where WeChat says it.
    pub coupon_type: Option<String>,
    pub fee_fen: Fen,
}

/// Money that arrived when it should not, and what the merchant's policy does with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderSurplus {
    #[serde(flatten)]
    pub payment: OrderPaid,
    /// `accept`, `refund` or `hold`.
    pub policy: &'static str,
}

/// Money of an order that does not count until it is accepted or given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentHeld {
    /// The business's number.
    pub order_no: OrderNo,
    /// Through which app the order is paid.
    pub app: AppKey,
    /// The attempt's number at WeChat.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// How much was paid, in the currency's smallest unit.
    pub amount_fen: Fen,
    /// WeChat's `fee_type`.
    pub currency: String,
    /// The order's amount.
    pub order_amount_fen: Fen,
    /// When WeChat took the money.
    pub paid_at: Timestamp,
    /// `late`, `twice`, `before_order` or `mismatched`.
    pub reason: &'static str,
    /// The source that reported it first: `notification` or `query`.
    pub learnt_by: &'static str,
}

/// An order that will not be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderEnded {
    pub order_no: OrderNo,
    pub app: AppKey,
    /// How much it would have been.
    pub amount_fen: Fen,
    /// Always CNY.
    pub currency: &'static str,
    /// WeChat's words, when it refused.
    pub wechat: Option<WechatError>,
}

/// What happened to money on its way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefundEventData {
    /// The business's number of the order; none where the payment is of no order.
    pub order_no: Option<OrderNo>,
    pub refund_no: OutRefundNo,
    /// WeChat's number of it, once WeChat took it on.
    pub refund_id: Option<String>,
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    pub amount_fen: Fen,
    pub paid_fen: Fen,
    /// The payment's.
    pub currency: String,
    /// Who wanted it: `api`, `policy` or `console`.
    pub origin: &'static str,
    /// When the payer had the money.
    pub refunded_at: Option<Timestamp>,
    /// WeChat's words, when it refused or does not take it yet.
    pub wechat: Option<WechatError>,
}

/// A refund that moved no money, and never will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefundFailed {
    #[serde(flatten)]
    pub refund: RefundEventData,
    /// Where it failed because of other refunds of the payment: what WeChat had refunded by those.
    pub payment_refunded_fen: Option<Fen>,
}

/// A verified payment of an order that was not created here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentOrphaned {
    /// The number WeChat named.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    pub amount_fen: Fen,
    /// WeChat's `fee_type`; `amount_fen` counts its smallest unit.
    pub currency: String,
    /// When WeChat took the money.
    pub paid_at: Timestamp,
    pub notification_id: EventId,
}

/// A notification that contradicts its order, or that the worker could not verify. Nothing of it was entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotificationRejected {
    pub notification_id: EventId,
    /// The number it names, if any.
    pub out_trade_no: Option<String>,
    /// A short stable name.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// A message that cannot be processed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterParked {
    pub event_id: String,
    /// Who could not process it.
    pub consumer: String,
    pub message_subject: String,
    /// A short stable name.
    pub reason: String,
    /// For people.
    pub last_error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The order it is about, as far as that is known.
    pub order_no: Option<OrderNo>,
}

/// An app whose access_token or ticket cannot be kept fresh, or can be again. Payments do not need them; logins of mini
/// programs' phone numbers and pages that use the JS-SDK do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppTrouble {
    pub app: AppKey,
    /// `access_token` or `jsapi_ticket`.
    pub token: &'static str,
    /// A short stable name of what is or was wrong.
    pub reason: String,
    /// WeChat's `errcode`, where it gave one.
    pub errcode: Option<i64>,
    pub since: Timestamp,
}

/// A part of a merchant that WeChat refuses, or accepts again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MerchantTrouble {
    /// The merchant, its refunds or notifications, or one app or trade type.
    pub what: String,
    /// A short stable name of what is or was wrong.
    pub reason: String,
    /// What to check, as the configuration names it.
    pub check: String,
    /// Whether forged messages may be the cause.
    pub is_hint: bool,
    /// WeChat's words, where it said any.
    pub wechat: Option<WechatError>,
    pub since: Timestamp,
}

/// An endpoint of a webhook that is not called any more, by its own word or because it failed for too long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WebhookDisabled {
    /// Its id.
    pub endpoint: String,
    pub description: String,
    /// `gone` or `failing`.
    pub reason: &'static str,
    pub failing_since: Timestamp,
}

/// Money that is credited or refunded once a second person has approved it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApprovalWaiting {
    /// The request's number.
    pub approval: i64,
    /// `accept` or `refund`.
    pub what: &'static str,
    pub transaction_id: TransactionId,
    pub refund_no: Option<OutRefundNo>,
    pub amount_fen: Fen,
    pub currency: String,
    /// Who asked; another person decides.
    pub asked_by: String,
    pub reason: String,
    pub expires_at: Timestamp,
}

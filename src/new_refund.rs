//! From a refund's terms to the row that is recorded and the parameters for WeChat. Pure; used for refunds of the API,
//! of a merchant's policy and of the merchant platform.

use crate::clock::Timestamp;
use crate::config::Config;
use crate::event::domain::{DomainData, DomainEvent, RefundEventData, RefundFailed};
use crate::ids::{AppId, MchId, MerchantKey, OrderNo, OutRefundNo, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::order::{AutoRefund, CNY, Order};
use crate::refund::{Refund, RefundEvent, RefundOrigin, UNCALLED};
use crate::store::{AttemptParams, NewRefund, RefundEvidence};
use crate::wechat::v2::refund::{RefundOrder, params};

/// The longest `refund_desc`, in bytes.
pub const REASON_MAX_BYTES: usize = 80;

/// The terms of a refund to be recorded.
#[derive(Debug, Clone)]
pub struct RefundSpec {
    pub merchant: MerchantKey,
    /// None where the payment is of no order.
    pub order_id: Option<i64>,
    pub order_no: Option<OrderNo>,
    /// The app of the attempt that was paid.
    pub appid: AppId,
    /// The merchant number that received the money.
    pub mch_id: MchId,
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    pub refund_no: OutRefundNo,
    pub amount: Fen,
    pub total: Fen,
    /// The payment's currency.
    pub currency: String,
    pub origin: RefundOrigin,
    /// The reason shown to the payer.
    pub reason: Option<String>,
    /// The API key's name, or the policy's.
    pub requested_by: String,
    /// Hash over the caller's own fields; empty for refunds not requested over the API.
    pub content_hash: String,
    /// WeChat's number of a refund that it has already accepted, with the evidence.
    pub known: Option<(String, RefundEvidence)>,
}

/// Nothing can be refunded for a merchant that is not configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no merchant of that name is configured")]
pub struct NotConfigured;

/// The refund as it will be recorded at `now`.
pub fn new_refund(config: &Config, spec: RefundSpec, now: Timestamp) -> Result<NewRefund, NotConfigured> {
    let merchant = config.merchant(spec.merchant.as_str()).ok_or(NotConfigured)?;
    let call = RefundOrder {
        appid: spec.appid,
        mch_id: spec.mch_id,
        sign_type: merchant.sign_type,
        transaction_id: spec.transaction_id.clone(),
        out_refund_no: spec.refund_no.clone(),
        total_fee: spec.total,
        refund_fee: spec.amount,
        refund_fee_type: Some(spec.currency.clone()).filter(|currency| currency != CNY),
        refund_desc: spec.reason.clone(),
        notify_url: Some(format!("{}/notify/{}/refund", config.server.public_url, merchant.key)),
    };
    // The API publishes the call of its refunds at once; all others are found by the scheduler.
    let next_at = match spec.origin {
        RefundOrigin::Api => now.after(UNCALLED),
        RefundOrigin::Policy | RefundOrigin::MerchantPlatform => now,
    };
    Ok(NewRefund {
        merchant: spec.merchant,
        order_id: spec.order_id,
        order_no: spec.order_no,
        refund_no: spec.refund_no,
        out_trade_no: spec.out_trade_no,
        transaction_id: spec.transaction_id,
        amount: spec.amount,
        total: spec.total,
        currency: spec.currency,
        origin: spec.origin,
        reason: spec.reason,
        requested_by: spec.requested_by,
        content_hash: spec.content_hash,
        gives_back: None,
        audit: None,
        idempotency: None,
        cap: None,
        second_person: None,
        approved: None,
        params: AttemptParams { params: params(&call), sign_type: merchant.sign_type.as_str().into() },
        known: spec.known,
        created_at: now,
        next_at,
    })
}

/// The refund that a merchant's policy makes of a payment. Its number is derived from the payment's: the idempotency
/// key.
pub fn policy_refund(config: &Config, order: &Order, auto: &AutoRefund, now: Timestamp) -> Option<NewRefund> {
    let attempt = order.attempt(&auto.out_trade_no)?;
    let spec = RefundSpec {
        merchant: order.merchant.clone(),
        order_id: Some(order.id),
        order_no: Some(order.order_no.clone()),
        appid: attempt.appid.clone(),
        mch_id: attempt.mch_id.clone(),
        out_trade_no: auto.out_trade_no.clone(),
        transaction_id: auto.transaction_id.clone(),
        refund_no: OutRefundNo::of_policy(&order.merchant, &auto.transaction_id),
        amount: auto.amount,
        total: auto.amount,
        // Money in another currency does not fit the order and is held.
        currency: CNY.to_owned(),
        origin: RefundOrigin::Policy,
        reason: Some(payer_reason(auto.reason).to_owned()),
        requested_by: auto.reason.to_owned(),
        content_hash: String::new(),
        known: None,
    };
    new_refund(config, spec, now).ok()
}

/// The reason shown to the payer.
fn payer_reason(reason: &str) -> &'static str {
    match reason {
        "paid_late" => "订单已关闭，款项原路退回",
        _ => "重复支付，款项原路退回",
    }
}

/// The domain event of a refund's change; `elsewhere` is what WeChat had refunded by others, for which it failed.
pub fn refund_event(refund: &Refund, news: RefundEvent, elsewhere: Option<Fen>) -> DomainEvent {
    let report = RefundEventData {
        order_no: refund.order_no.clone(),
        refund_no: refund.refund_no.clone(),
        refund_id: refund.refund_id.clone(),
        out_trade_no: refund.out_trade_no.clone(),
        transaction_id: refund.transaction_id.clone(),
        amount_fen: refund.amount,
        paid_fen: refund.total,
        currency: refund.currency.clone(),
        origin: refund.origin.as_str(),
        refunded_at: refund.succeeded_at,
        wechat: refund.error.clone(),
    };
    let data = match news {
        RefundEvent::Requested => DomainData::RefundRequested(report),
        RefundEvent::Delayed => DomainData::RefundDelayed(report),
        RefundEvent::Succeeded => DomainData::RefundSucceeded(report),
        RefundEvent::Abnormal => DomainData::RefundAbnormal(report),
        RefundEvent::Failed => {
            DomainData::RefundFailed(RefundFailed { refund: report, payment_refunded_fen: elsewhere })
        }
    };
    DomainEvent { merchant: refund.merchant.clone(), order_no: refund.order_no.clone(), data }
}

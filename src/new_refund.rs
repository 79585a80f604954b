//! From a refund request to what is recorded and what WeChat will be sent. Pure; the ingress, a policy and the
//! merchant platform's refunds all come through here.

use crate::clock::Timestamp;
use crate::config::Config;
use crate::event::domain::{DomainData, DomainEvent, RefundTold};
use crate::ids::{AppId, MchId, MerchantKey, OrderNo, OutRefundNo, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::order::{AutoRefund, CNY, Order};
use crate::refund::{Refund, RefundNews, RefundOrigin, UNCALLED};
use crate::store::{AttemptParams, NewRefund, RefundEvidence};
use crate::wechat::v2::refund::{RefundOrder, params};

/// The longest `refund_desc`, in bytes.
pub const REASON_MAX_BYTES: usize = 80;

/// What is wanted back.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Whose.
    pub merchant: MerchantKey,
    /// The order's row.
    pub order_id: i64,
    /// The order's number.
    pub order_no: OrderNo,
    /// The app of the attempt that was paid.
    pub appid: AppId,
    /// Who received the money.
    pub mch_id: MchId,
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// The refund's number.
    pub refund_no: OutRefundNo,
    /// What goes back.
    pub amount: Fen,
    /// What was paid.
    pub total: Fen,
    /// Who wants it.
    pub origin: RefundOrigin,
    /// What the payer reads.
    pub reason: Option<String>,
    /// The API key that asks, or the policy's name.
    pub requested_by: String,
    /// Over what the caller itself said; empty for refunds not requested here.
    pub content_hash: String,
    /// WeChat's number of a refund that it has taken on already, and how that was learnt.
    pub known: Option<(String, RefundEvidence)>,
}

/// Nothing can be refunded for a merchant that is not configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no merchant of that name is configured")]
pub struct NotConfigured;

/// The refund as it will be recorded at `now`.
pub fn new_refund(config: &Config, wish: Wish, now: Timestamp) -> Result<NewRefund, NotConfigured> {
    let merchant = config.merchant(wish.merchant.as_str()).ok_or(NotConfigured)?;
    let call = RefundOrder {
        appid: wish.appid,
        mch_id: wish.mch_id,
        sign_type: merchant.sign_type,
        transaction_id: wish.transaction_id.clone(),
        out_refund_no: wish.refund_no.clone(),
        total_fee: wish.total,
        refund_fee: wish.amount,
        refund_desc: wish.reason.clone(),
        notify_url: Some(format!("{}/notify/{}/refund", config.server.public_url, merchant.key)),
    };
    // The one that asked over the API has its call published at once; the others are found by the scheduler.
    let next_at = match wish.origin {
        RefundOrigin::Api => now.after(UNCALLED),
        RefundOrigin::Policy | RefundOrigin::Console => now,
    };
    Ok(NewRefund {
        merchant: wish.merchant,
        order_id: wish.order_id,
        order_no: wish.order_no,
        refund_no: wish.refund_no,
        out_trade_no: wish.out_trade_no,
        transaction_id: wish.transaction_id,
        amount: wish.amount,
        total: wish.total,
        origin: wish.origin,
        reason: wish.reason,
        requested_by: wish.requested_by,
        content_hash: wish.content_hash,
        idempotency: None,
        params: AttemptParams { params: params(&call), sign_type: merchant.sign_type.as_str().into() },
        known: wish.known,
        created_at: now,
        next_at,
    })
}

/// The refund that a merchant's policy makes of a payment. Its number follows from the payment's, so that there is one.
pub fn policy_refund(config: &Config, order: &Order, auto: &AutoRefund, now: Timestamp) -> Option<NewRefund> {
    let attempt = order.attempt(&auto.out_trade_no)?;
    let wish = Wish {
        merchant: order.merchant.clone(),
        order_id: order.id,
        order_no: order.order_no.clone(),
        appid: attempt.appid.clone(),
        mch_id: attempt.mch_id.clone(),
        out_trade_no: auto.out_trade_no.clone(),
        transaction_id: auto.transaction_id.clone(),
        refund_no: OutRefundNo::of_policy(&order.merchant, &auto.transaction_id),
        amount: auto.amount,
        total: auto.amount,
        origin: RefundOrigin::Policy,
        reason: Some(words(auto.reason).to_owned()),
        requested_by: auto.reason.to_owned(),
        content_hash: String::new(),
        known: None,
    };
    new_refund(config, wish, now).ok()
}

/// What the payer reads.
fn words(reason: &str) -> &'static str {
    match reason {
        "paid_late" => "订单已关闭，款项原路退回",
        _ => "重复支付，款项原路退回",
    }
}

/// The event about what happened to a refund.
pub fn told(refund: &Refund, news: RefundNews) -> DomainEvent {
    let told = RefundTold {
        order_no: refund.order_no.clone(),
        refund_no: refund.refund_no.clone(),
        refund_id: refund.refund_id.clone(),
        out_trade_no: refund.out_trade_no.clone(),
        transaction_id: refund.transaction_id.clone(),
        amount_fen: refund.amount,
        paid_fen: refund.total,
        currency: CNY,
        origin: refund.origin.as_str(),
        refunded_at: refund.succeeded_at,
        wechat: refund.error.clone(),
    };
    let data = match news {
        RefundNews::Requested => DomainData::RefundRequested(told),
        RefundNews::Delayed => DomainData::RefundDelayed(told),
        RefundNews::Succeeded => DomainData::RefundSucceeded(told),
        RefundNews::Abnormal => DomainData::RefundAbnormal(told),
        RefundNews::Failed => DomainData::RefundFailed(told),
    };
    DomainEvent { merchant: refund.merchant.clone(), order_no: Some(refund.order_no.clone()), data }
}

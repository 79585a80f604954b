//! WeChat does not take a refund of ours: others may have refunded the payment.
//!
//! Before anything is said, the payment's refunds are listed and learnt. What must stay true: a refund for which they
//! leave no room has failed, whatever the words, and says how much WeChat has refunded; what could not be learnt before
//! ours gave its reservation back is learnt after it, also where this process does not live to do so.

use super::adopt::{Owner, adopt_all, learn_listed};
use super::apply::ApplyError;
use super::called::{Called, taken};
use super::list::list;
use super::poll;
use crate::config::Merchant;
use crate::event::fact::{RefundFact, WechatError};
use crate::refund::Refund;
use crate::store::{DbError, PaidAttempt, RefundSource, StoredOrder, StoredRefund};
use crate::wechat::outcome::ErrCode;
use crate::worker::core::context::Context;

/// Whether the refusal may come from refunds made elsewhere: WeChat has several codes and no stable words for it.
pub fn may_come_from_others(error: &WechatError) -> bool {
    if [WechatError::HTTP, WechatError::UNUSABLE].contains(&error.code.as_str()) {
        return false;
    }
    // Mostly an answer that was spoiled on its way; not one that speaks of refunds.
    if error.code == WechatError::UNSIGNED && !error.message.contains("退款") {
        return false;
    }
    matches!(ErrCode::parse(&error.code), ErrCode::Error | ErrCode::InvalidRequest | ErrCode::Other)
}

/// Learns what others refunded, then takes the refusal to our refund: `otherwise`, if they left room for it.
pub async fn refused(
    ctx: &Context,
    merchant: &Merchant,
    stored: &StoredRefund,
    error: WechatError,
    (otherwise, source): (RefundFact, RefundSource),
) -> Result<Called, ApplyError> {
    let r = &stored.refund;
    let Some(appid) = poll::appid(stored).filter(|_| may_come_from_others(&error)) else {
        return taken(ctx, merchant, stored, otherwise, source).await;
    };
    let listing = list(ctx, merchant, &appid, &r.transaction_id).await;
    let (order, payment) = match &r.order_no {
        Some(order_no) => (ctx.store.order(&r.merchant, order_no).await?, None),
        None => of_no_order(ctx, r).await?,
    };
    let owner = order.as_ref().map(Owner::Order).or(payment.as_ref().map(Owner::NoOrder));
    let Some(owner) = owner else { return taken(ctx, merchant, stored, otherwise, source).await };
    // An answer without any may come from a moment in which WeChat does not find them.
    let (learnt, is_complete) = learn_listed(ctx, merchant, owner, &listing).await?;
    if listing.find(&r.refund_no).is_some() {
        let own = learnt.refused.iter().find(|(_, row)| *row == Some(r.id));
        return Ok(own.map_or(Called::Answered, |(refusal, _)| Called::Refused(*refusal)));
    }
    if !listing.is_answered {
        return taken(ctx, merchant, stored, otherwise, source).await;
    }
    let refunded = listing.refunded();
    if refunded.as_i64().saturating_add(r.amount.as_i64()) <= r.total.as_i64() {
        return taken(ctx, merchant, stored, otherwise, source).await;
    }
    ctx.store.note_refunded_elsewhere(r.id, refunded, ctx.clock.now()).await?;
    let raw = listing.pages.first().map(|(_, raw)| raw.as_str().to_owned());
    let source = RefundSource::Query { raw, verified_by: poll::verified_by(merchant) };
    let called = taken(ctx, merchant, stored, RefundFact::Refused(error), source).await?;
    crate::failpoint::point("refund.gave_way");
    if !is_complete {
        adopt_all(ctx, merchant, owner, &listing).await?;
    }
    Ok(called)
}

/// The payment of a refund of no order, or the order that has appeared for it since.
async fn of_no_order(ctx: &Context, r: &Refund) -> Result<(Option<StoredOrder>, Option<PaidAttempt>), DbError> {
    let payment = ctx.store.paid_attempt(&r.merchant, &r.transaction_id).await?;
    match payment.as_ref().and_then(|payment| payment.order_no.as_ref()) {
        Some(order_no) => Ok((ctx.store.order(&r.merchant, order_no).await?, None)),
        None => Ok((None, payment)),
    }
}

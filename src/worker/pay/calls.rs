//! The calls themselves. Without a permit a call is not made, and has no answer.

use super::made::{Made, about, attempt_of, listed, placed, queried, refund_of, refunded, was_closed};
use super::pacer::{Permit, PutOff};
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::event::fact::WechatError;
use crate::ids::{AppId, OutTradeNo, TransactionId};
use crate::store::CallAbout;
use crate::wechat::outcome;
use crate::wechat::outcome::Api;
use crate::wechat::transport::Client;
use crate::wechat::v2::close::Closed;
use crate::wechat::v2::query::Asked;
use crate::wechat::v2::refund::Refunding;
use crate::wechat::v2::refund_query::{RefundsAsked, Which};
use crate::wechat::v2::unified_order::{Answer, Placed};
use crate::wechat::v2::xml::Fields;
use crate::wechat::v2::{close, query, refund, refund_query, unified_order};
use crate::worker::core::context::Context;

/// Places an order; see [`unified_order::place`].
pub async fn place(ctx: &Context, merchant: &Merchant, params: &Fields, now: Timestamp) -> Result<Answer, PutOff> {
    let permit = ctx.pacer.permit(merchant, Api::UnifiedOrder).await?;
    let made = Made::begin(ctx, merchant, Api::UnifiedOrder);
    let answer = unified_order::place(&ctx.wechat, &merchant.v2_key, params, now).await;
    made.ended(attempt_of(params), placed(&answer));
    let said = match &answer.placed {
        Placed::Unknown { said, .. } => said.as_ref(),
        Placed::Issued(_) | Placed::Refused(_) | Placed::Setup(_) | Placed::Ask(_) | Placed::Closed(_) => None,
    };
    heed(ctx, merchant, Api::UnifiedOrder, permit, said).await;
    Ok(answer)
}

/// Queries a number; see [`query::ask`].
pub async fn ask(ctx: &Context, merchant: &Merchant, appid: &AppId, out_trade_no: &OutTradeNo) -> Asked {
    let permit = match ctx.pacer.permit(merchant, Api::OrderQuery).await {
        Ok(permit) => permit,
        Err(put_off) => return Asked::Unknown { why: put_off.to_string(), said: None },
    };
    let made = Made::begin(ctx, merchant, Api::OrderQuery);
    let asked = query::ask(&ctx.wechat, merchant, appid, out_trade_no).await;
    heard(ctx, merchant, (made, permit), out_trade_no, asked).await
}

/// Queries a payment of a number; see [`query::ask_payment`].
pub async fn ask_payment(
    ctx: &Context,
    merchant: &Merchant,
    appid: &AppId,
    (transaction_id, out_trade_no): (&TransactionId, &OutTradeNo),
) -> Asked {
    let permit = match ctx.pacer.permit(merchant, Api::OrderQuery).await {
        Ok(permit) => permit,
        Err(put_off) => return Asked::Unknown { why: put_off.to_string(), said: None },
    };
    let made = Made::begin(ctx, merchant, Api::OrderQuery);
    let asked = query::ask_payment(&ctx.wechat, merchant, appid, transaction_id).await;
    heard(ctx, merchant, (made, permit), out_trade_no, asked).await
}

async fn heard(
    ctx: &Context,
    merchant: &Merchant,
    (made, permit): (Made<'_>, Permit),
    out_trade_no: &OutTradeNo,
    asked: Asked,
) -> Asked {
    made.ended(CallAbout::Attempt(out_trade_no.to_string()), queried(&asked));
    let said = match &asked {
        Asked::Unknown { said, .. } => said.as_ref(),
        Asked::Fact(..) | Asked::Refused(_) => None,
    };
    heed(ctx, merchant, Api::OrderQuery, permit, said).await;
    asked
}

/// Closes a number; see [`close::close`].
pub async fn close(ctx: &Context, merchant: &Merchant, appid: &AppId, out_trade_no: &OutTradeNo) -> Closed {
    let permit = match ctx.pacer.permit(merchant, Api::CloseOrder).await {
        Ok(permit) => permit,
        Err(put_off) => return Closed::Unknown { why: put_off.to_string(), said: None },
    };
    let made = Made::begin(ctx, merchant, Api::CloseOrder);
    let closed = close::close(&ctx.wechat, merchant, appid, out_trade_no).await;
    made.ended(CallAbout::Attempt(out_trade_no.to_string()), was_closed(&closed));
    let said = match &closed {
        Closed::Unknown { said, .. } => said.as_ref(),
        Closed::Done | Closed::AlreadyPaid | Closed::NotFound | Closed::Refused(_) => None,
    };
    heed(ctx, merchant, Api::CloseOrder, permit, said).await;
    closed
}

/// Requests a refund under a permit that was taken before its call was written down; see [`refund::place`].
pub async fn refund(ctx: &Context, merchant: &Merchant, client: &Client, params: &Fields, permit: Permit) -> Refunding {
    let made = Made::begin(ctx, merchant, Api::Refund);
    let refunding = refund::place(client, &merchant.v2_key, params).await;
    made.ended(refund_of(params), refunded(&refunding));
    let said = match &refunding {
        Refunding::TooFrequent(said) | Refunding::Later(said) => Some(said),
        Refunding::Unknown { said, .. } => said.as_ref(),
        Refunding::Accepted(..) | Refunding::Refused(_) | Refunding::Ask(_) | Refunding::Doubt(_) => None,
    };
    heed(ctx, merchant, Api::Refund, permit, said).await;
    refunding
}

/// Queries refunds; see [`refund_query::ask`].
pub async fn ask_refunds(ctx: &Context, merchant: &Merchant, appid: &AppId, which: &Which) -> RefundsAsked {
    let permit = match ctx.pacer.permit(merchant, Api::RefundQuery).await {
        Ok(permit) => permit,
        Err(put_off) => return RefundsAsked::Unknown { why: put_off.to_string(), said: None },
    };
    let made = Made::begin(ctx, merchant, Api::RefundQuery);
    let asked = refund_query::ask(&ctx.wechat, merchant, appid, which).await;
    made.ended(about(which), listed(&asked));
    let said = match &asked {
        RefundsAsked::Unknown { said, .. } => said.as_ref(),
        RefundsAsked::Found(..) | RefundsAsked::NotFound | RefundsAsked::Refused(_) => None,
    };
    heed(ctx, merchant, Api::RefundQuery, permit, said).await;
    asked
}

/// Pauses all calls of the API where WeChat said that there are too many.
async fn heed(ctx: &Context, merchant: &Merchant, api: Api, permit: Permit, said: Option<&WechatError>) {
    if said.is_some_and(outcome::is_throttled) {
        ctx.pacer.throttled(merchant, api, permit).await;
    }
}

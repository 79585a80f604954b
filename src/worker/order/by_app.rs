//! Queries and closes of an attempt: by the app that it was placed with, and by the configured one where WeChat refuses
//! that app alone. A number that may have been placed under a wrong app is found out by the right one.

use crate::config::Merchant;
use crate::event::fact::WechatError;
use crate::ids::{AppId, OutTradeNo};
use crate::order::Attempt;
use crate::store::StoredOrder;
use crate::wechat::setup_fault::SetupFault;
use crate::wechat::v2::close::Closed;
use crate::wechat::v2::query::Asked;
use crate::worker::core::context::Context;
use crate::worker::core::setup_judge::{Whose, judge};
use crate::worker::pay::calls;

/// Queries WeChat. Also says whether the answer is about the configured app's number and not the attempt's.
pub async fn ask(ctx: &Context, merchant: &Merchant, stored: &StoredOrder, attempt: &Attempt) -> (Asked, bool) {
    let number = &attempt.out_trade_no;
    let asked = calls::ask(ctx, merchant, &attempt.appid, number).await;
    let Asked::Refused(error) = &asked else { return (asked, false) };
    let Some(configured) = refused(ctx, merchant, stored, attempt, "query", error).await else { return (asked, false) };
    let asked = calls::ask(ctx, merchant, &configured, number).await;
    if let Asked::Refused(error) = &asked {
        report(ctx, merchant, (number, &configured), "query", error).await;
    }
    (asked, true)
}

/// Closes the attempt at WeChat.
pub async fn close(ctx: &Context, merchant: &Merchant, stored: &StoredOrder, attempt: &Attempt) -> Closed {
    let number = &attempt.out_trade_no;
    let closed = calls::close(ctx, merchant, &attempt.appid, number).await;
    let Closed::Refused(error) = &closed else { return closed };
    let Some(configured) = refused(ctx, merchant, stored, attempt, "close", error).await else { return closed };
    let closed = calls::close(ctx, merchant, &configured, number).await;
    if let Closed::Refused(error) = &closed {
        report(ctx, merchant, (number, &configured), "close", error).await;
    }
    closed
}

/// The configured app, if it is another one than the attempt's and WeChat refuses the attempt's alone.
async fn refused(
    ctx: &Context,
    merchant: &Merchant,
    stored: &StoredOrder,
    attempt: &Attempt,
    call: &'static str,
    error: &WechatError,
) -> Option<AppId> {
    let whose = report(ctx, merchant, (&attempt.out_trade_no, &attempt.appid), call, error).await;
    let configured = &ctx.config.app(stored.order.app.as_str())?.app_id;
    let alone = whose == Whose::Orders && SetupFault::of(error) == Some(SetupFault::AppId);
    (alone && *configured != attempt.appid).then(|| configured.clone())
}

/// Parameters and keys are ours to correct; the order is polled again all the same.
async fn report(
    ctx: &Context,
    merchant: &Merchant,
    (number, appid): (&OutTradeNo, &AppId),
    call: &'static str,
    error: &WechatError,
) -> Whose {
    let (code, said) = (&error.code, &error.message);
    tracing::warn!(order.out_trade_no = %number, call, code, said, "WeChat refuses a call about the order");
    judge(ctx, merchant, Some(appid), error).await
}

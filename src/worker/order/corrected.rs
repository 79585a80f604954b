//! An attempt that WeChat refused for the merchant's setup goes on by the corrected merchant's and app's numbers.
//!
//! Its parameters are otherwise never changed: WeChat refuses a number that comes back with others. No call of this one
//! was executed, so there is nothing to differ from; or the app that it named is none that WeChat would have taken.

use crate::config::{App, Merchant};
use crate::ids::OutTradeNo;
use crate::merchant_setup::Probe;
use crate::order::{Attempt, AttemptState};
use crate::store::{AttemptParams, Calls, DbError, StoredOrder};
use crate::worker::core::context::Context;
use crate::worker::core::setup_judge::probed;

/// The order with what its newest attempt will be sent from now on, which is durable.
pub async fn corrected(ctx: &Context, merchant: &Merchant, mut stored: StoredOrder) -> Result<StoredOrder, DbError> {
    let Some(app) = ctx.config.app(stored.order.app.as_str()) else { return Ok(stored) };
    let order = &mut stored.order;
    let (Some(attempt), Some(params)) = (order.attempts.last_mut(), stored.params.last_mut()) else {
        return Ok(stored);
    };
    let same = attempt.mch_id == merchant.mch_id && attempt.appid == app.app_id;
    // A process that has the wrong configuration must not put it in the place of the right one.
    if attempt.setup_refusals.is_none() || same || probed(ctx, merchant).await != Probe::Passed {
        return Ok(stored);
    }
    take_over(ctx, merchant, app, (attempt, params), Calls::NoneExecuted).await?;
    Ok(stored)
}

/// A call of the number may have been executed, and WeChat refuses the app that it named. Where the configured app has
/// no such number, the newest attempt goes on by that: WeChat has one order of a number at most, and no payer was
/// offered this one.
pub async fn moved(
    ctx: &Context,
    merchant: &Merchant,
    stored: &mut StoredOrder,
    number: &OutTradeNo,
) -> Result<(), DbError> {
    let Some(app) = ctx.config.app(stored.order.app.as_str()) else { return Ok(()) };
    let (Some(attempt), Some(params)) = (stored.order.attempts.last_mut(), stored.params.last_mut()) else {
        return Ok(());
    };
    let waits = attempt.state == AttemptState::Unknown && attempt.setup_refusals.is_none();
    if attempt.out_trade_no != *number || !waits || attempt.mch_id != merchant.mch_id {
        return Ok(());
    }
    take_over(ctx, merchant, app, (attempt, params), Calls::MayBeExecuted).await
}

async fn take_over(
    ctx: &Context,
    merchant: &Merchant,
    app: &App,
    (attempt, params): (&mut Attempt, &mut AttemptParams),
    calls: Calls,
) -> Result<(), DbError> {
    let mut next = params.clone();
    next.params.insert("mch_id".to_owned(), merchant.mch_id.to_string());
    next.params.insert("appid".to_owned(), app.app_id.to_string());
    let corrected = (&merchant.mch_id, &app.app_id, &next);
    if ctx.store.correct_attempt(&merchant.key, &attempt.out_trade_no, (params, calls), corrected).await? {
        (attempt.mch_id, attempt.appid) = (merchant.mch_id.clone(), app.app_id.clone());
        *params = next;
    }
    Ok(())
}

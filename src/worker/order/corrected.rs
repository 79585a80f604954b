//! An attempt that WeChat refused for the merchant's setup goes on by the corrected merchant's and app's numbers.
//!
//! Its parameters are otherwise never changed: WeChat refuses a number that comes back with others. No call of this one
//! was executed, so there is nothing to differ from.

use crate::config::Merchant;
use crate::merchant_setup::Probe;
use crate::store::{DbError, StoredOrder};
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
    let mut next = params.clone();
    next.params.insert("mch_id".to_owned(), merchant.mch_id.to_string());
    next.params.insert("appid".to_owned(), app.app_id.to_string());
    let corrected = (&merchant.mch_id, &app.app_id, &next);
    if ctx.store.correct_attempt(&merchant.key, &attempt.out_trade_no, params, corrected).await? {
        (attempt.mch_id, attempt.appid) = (merchant.mch_id.clone(), app.app_id.clone());
        *params = next;
    }
    Ok(stored)
}

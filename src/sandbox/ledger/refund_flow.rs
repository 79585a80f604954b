//! A refund on its way: when it ends by itself, and who hears of it.
//!
//! It ends after the (scaled) time of a refund to the payer's change, as it was planned to. A restarted simulator goes
//! on where its journal ends.

use std::sync::Arc;
use std::time::Duration;

use super::record::{Refund, RefundStatus};
use super::refunds::RefundRefused;
use crate::sandbox::notify::schedule;
use crate::sandbox::state::World;

/// A refund was taken on: brings it to its end in time, without waiting here.
pub(in crate::sandbox) fn begin(world: &Arc<World>, refund: &Refund) {
    spawn(world, refund, world.lifetimes.refund);
}

/// Takes up what the journal shows as on its way. Notifications are `schedule`'s business.
pub(in crate::sandbox) fn resume(world: &Arc<World>) {
    let now = world.now();
    let pending: Vec<Refund> = world
        .book()
        .orders()
        .iter()
        .flat_map(|order| &order.refunds)
        .filter(|refund| refund.status == RefundStatus::Processing)
        .cloned()
        .collect();
    for refund in pending {
        spawn(world, &refund, refund.accepted_at.after(world.lifetimes.refund).since(now));
    }
}

fn spawn(world: &Arc<World>, refund: &Refund, wait: Duration) {
    let (world, refund) = (Arc::clone(world), refund.clone());
    world.tasks.clone().spawn(async move {
        if world.stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
        // The control API may have ended it meanwhile.
        if let Err(refused) = end(&world, &refund, refund.ends_as) {
            tracing::error!(?refused, "sandbox: a refund could not come to its end");
        }
    });
}

/// Ends a refund and begins to notify of it. Nothing when its state does not allow that end.
pub(in crate::sandbox) fn end(
    world: &Arc<World>,
    refund: &Refund,
    status: RefundStatus,
) -> Result<Option<Refund>, RefundRefused> {
    let (ended, letter) = {
        let mut book = world.book();
        let Some(ended) = book.end_refund(&refund.mch_id, &refund.out_refund_no, status, world.now())? else {
            return Ok(None);
        };
        let order = book.order(ended.mch_id.as_str(), ended.out_trade_no.as_str());
        let letter = order.and_then(|order| world.refund_letter(order, &ended));
        (ended, letter)
    };
    if let Some(letter) = letter {
        schedule::start(world, letter);
    }
    Ok(Some(ended))
}

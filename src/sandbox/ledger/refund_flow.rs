//! A refund on its way: when it ends by itself, and who hears of it.
//!
//! It ends after the (scaled) time of a refund to the payer's change, as it was planned to. A restarted simulator goes
//! on where its journal ends.

use std::sync::Arc;
use std::time::Duration;

use super::record::{Refund, RefundStatus};
use super::refunds::RefundRefused;
use crate::sandbox::notify::schedule;
use crate::sandbox::state::SandboxState;

/// A refund was taken on: brings it to its end in time, without waiting here.
pub(in crate::sandbox) fn begin(sandbox: &Arc<SandboxState>, refund: &Refund) {
    spawn(sandbox, refund, sandbox.lifetimes.refund);
}

/// Takes up what the journal shows as on its way. Notifications are `schedule`'s business.
pub(in crate::sandbox) fn resume(sandbox: &Arc<SandboxState>) {
    let now = sandbox.now();
    let pending: Vec<Refund> = sandbox
        .book()
        .orders()
        .iter()
        .flat_map(|order| &order.refunds)
        .filter(|refund| refund.status == RefundStatus::Processing)
        .cloned()
        .collect();
    for refund in pending {
        spawn(sandbox, &refund, refund.accepted_at.after(sandbox.lifetimes.refund).since(now));
    }
}

fn spawn(sandbox: &Arc<SandboxState>, refund: &Refund, wait: Duration) {
    let (sandbox, refund) = (Arc::clone(sandbox), refund.clone());
    sandbox.tasks.clone().spawn(async move {
        if sandbox.stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
        // The control API may have ended it meanwhile.
        if let Err(refused) = end(&sandbox, &refund, refund.ends_as) {
            tracing::error!(?refused, "sandbox: a refund could not come to its end");
        }
    });
}

/// Ends a refund and begins to notify of it. Nothing when its state does not allow that end.
pub(in crate::sandbox) fn end(
    sandbox: &Arc<SandboxState>,
    refund: &Refund,
    status: RefundStatus,
) -> Result<Option<Refund>, RefundRefused> {
    let (ended, notification) = {
        let mut book = sandbox.book();
        let Some(ended) = book.end_refund(&refund.mch_id, &refund.out_refund_no, status, sandbox.now())? else {
            return Ok(None);
        };
        let order = book.order(ended.mch_id.as_str(), ended.out_trade_no.as_str());
        let notification = order.and_then(|order| sandbox.refund_notification(order, &ended));
        (ended, notification)
    };
    if let Some(notification) = notification {
        schedule::start(sandbox, notification);
    }
    Ok(Some(ended))
}

//! When a notification is sent: at once, then fifteen repeats over a day until the merchant takes note.
//!
//! The intervals are WeChat's current ones, divided by the time scale. A restarted simulator goes on where its
//! journal ends.

use std::sync::Arc;
use std::time::Duration;

use super::notification::Notification;
use super::notifier::deliver;
use crate::sandbox::ledger::order::Order;
use crate::sandbox::state::SandboxState;

/// Seconds between an attempt's end and the next attempt.
const REPEATS_S: [u64; 15] =
    [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10_800, 10_800, 10_800, 21_600, 21_600];

/// The first attempt and every repeat.
const ATTEMPTS: u32 = 16;

/// The wait after this attempt (from 1).
fn wait_after(attempt: u32, time_scale: u32) -> Option<Duration> {
    let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
    REPEATS_S.get(index).map(|seconds| Duration::from_secs(*seconds) / time_scale.max(1))
}

/// Begins to notify.
pub(in crate::sandbox) fn start(sandbox: &Arc<SandboxState>, notification: Notification) {
    spawn(sandbox, notification, 1, Duration::ZERO);
}

/// Takes up what the journal shows as not acknowledged.
pub(in crate::sandbox) fn resume(sandbox: &Arc<SandboxState>) {
    let now = sandbox.now();
    let pending: Vec<(Notification, u32, Duration)> = sandbox
        .book()
        .orders()
        .iter()
        .flat_map(|order| notifications(sandbox, order).into_iter().map(move |notification| (order, notification)))
        .filter(|(order, notification)| !order.acknowledged(notification.news().as_ref()))
        .filter_map(|(order, notification)| {
            let Some(last) = order.last_attempt(notification.news().as_ref()) else {
                return Some((notification, 1, Duration::ZERO));
            };
            let made = last.attempt?;
            let due = last.answered_at.after(wait_after(made, sandbox.time_scale)?);
            Some((notification, made + 1, due.since(now)))
        })
        .collect();
    for (notification, attempt, wait) in pending {
        spawn(sandbox, notification, attempt, wait);
    }
}

/// Everything an order has to tell.
fn notifications(sandbox: &SandboxState, order: &Order) -> Vec<Notification> {
    let refunds = order.refunds.iter().filter_map(|refund| sandbox.refund_notification(order, refund));
    sandbox.notification(order).into_iter().chain(refunds).collect()
}

fn spawn(sandbox: &Arc<SandboxState>, notification: Notification, first: u32, wait: Duration) {
    let shared = sandbox.clone();
    sandbox.tasks.spawn(async move {
        // Stopped in the middle of an attempt, the journal does not know it: it is made again.
        let _ = shared.stop.run_until_cancelled(run(&shared, &notification, first, wait)).await;
    });
}

async fn run(sandbox: &SandboxState, notification: &Notification, first: u32, mut wait: Duration) {
    let (mch_id, out_trade_no) = (notification.terms.mch_id.as_str(), notification.terms.out_trade_no.as_str());
    for attempt in first..=ATTEMPTS {
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if acknowledged(sandbox, notification) {
            return;
        }
        let hit = sandbox.faults.meet(notification.on(), mch_id, out_trade_no);
        deliver(sandbox, notification, Some(attempt), hit).await;
        if acknowledged(sandbox, notification) {
            return;
        }
        wait = wait_after(attempt, sandbox.time_scale).unwrap_or_default();
    }
}

fn acknowledged(sandbox: &SandboxState, notification: &Notification) -> bool {
    let book = sandbox.book();
    let order = book.order(notification.terms.mch_id.as_str(), notification.terms.out_trade_no.as_str());
    order.is_some_and(|order| order.acknowledged(notification.news().as_ref()))
}

//! When WeChat is called or asked about a refund that has not come to its end.
//!
//! A call without an answer is repeated soon, then ever more rarely; so is one that WeChat does not take yet, from a
//! minute on. What WeChat took on is asked about after 1, 5, 15 and 30 minutes, hourly through the first day, then
//! daily: a refund to a bank card takes days, and one that its account could not take is a person's work.

use std::time::Duration;

use super::state::{Refund, RefundState};
use crate::clock::Timestamp;
use crate::order::schedule::jittered;

/// WeChat takes no more refunds of one payment than this.
pub const MAX_REFUNDS: u32 = 50;
/// WeChat wants this between two refunds of one order, and after it was called too often.
pub const BETWEEN_REFUNDS: Duration = Duration::from_secs(60);
/// When a newly recorded refund is polled if the worker that should submit it crashes.
pub const UNCALLED: Duration = Duration::from_secs(60);
/// A question about a refund sooner than this after an unanswered call proves nothing.
pub(crate) const SETTLING: Duration = Duration::from_secs(60);
/// Hosts' clocks differ by less.
pub(crate) const CLOCKS_DIFFER: Duration = Duration::from_secs(60);
/// The holder of the call slot sends the request within this time, or not at all.
pub const SEND_WITHIN: Duration = Duration::from_secs(20);

const UNKNOWN: Duration = Duration::from_secs(5);
const UNKNOWN_MAX: Duration = Duration::from_secs(300);
const NOT_YET_MAX: Duration = Duration::from_secs(3600);
const PROCESSING: &[u64] = &[60, 300, 900, 1800];
const HOURLY: Duration = Duration::from_secs(3600);
const DAILY: Duration = Duration::from_secs(24 * 3600);

/// When to poll next after `done` polls; `None` when there is nothing left to learn.
pub fn next_refund_poll(refund: &Refund, done: u32, now: Timestamp) -> Option<Timestamp> {
    let pause = match refund.state {
        RefundState::Succeeded | RefundState::Failed => return None,
        RefundState::Requested => growing(BETWEEN_REFUNDS, done, NOT_YET_MAX),
        RefundState::Unknown if now.since(refund.created_at) < DAILY => growing(UNKNOWN, done, UNKNOWN_MAX),
        RefundState::Unknown => HOURLY,
        RefundState::Processing => match PROCESSING.get(done as usize) {
            Some(seconds) => Duration::from_secs(*seconds),
            None => rarely(refund, now),
        },
        RefundState::Abnormal => rarely(refund, now),
    };
    Some(jittered(refund.id, pause, now))
}

/// When to call again after WeChat said that it does not take the refund yet, for the `done`th time.
pub(crate) fn not_yet(refund: &Refund, done: u32, now: Timestamp) -> Timestamp {
    jittered(refund.id, growing(BETWEEN_REFUNDS, done, NOT_YET_MAX), now)
}

fn rarely(refund: &Refund, now: Timestamp) -> Duration {
    if now.since(refund.created_at) < DAILY { HOURLY } else { DAILY }
}

fn growing(first: Duration, done: u32, most: Duration) -> Duration {
    (first * (1 << done.min(10))).min(most)
}

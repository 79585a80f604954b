//! When WeChat is queried about an order for which no payment has been reported.
//!
//! A notification can be lost for good, so every payable order is polled: often while a payer is likely to be paying,
//! at its expiry, then with increasing intervals until the bill is authoritative. Intervals carry jitter so that orders
//! created together are not polled together; fixed moments, above all the expiry, carry none.

use std::time::Duration;

use super::state::{AttemptState, Order, OrderState};
use crate::clock::Timestamp;

/// Since the previous question, while the payer is likely to be there.
const EAGER: &[u64] = &[30, 60, 120, 300, 600, 1200, 1800];
/// The first question after the expiry comes so long after it.
pub const AFTER_EXPIRY: Duration = Duration::from_secs(120);
/// The longest pause in an order's first day, up to its expiry aside.
pub const HOURLY: Duration = Duration::from_secs(3600);
/// An order's first day, and the longest pause after it.
pub const DAILY: Duration = Duration::from_secs(24 * 3600);
/// Between the questions about an order that was closed: a payment may have been under way.
const AFTER_CLOSE: &[Duration] = &[Duration::from_secs(120), Duration::from_secs(1800)];
/// Poll interval of an order that must be closed at WeChat and could not be closed yet.
const CLOSING: Duration = Duration::from_secs(5);

/// WeChat takes no order that expires sooner than this.
pub const LEAST_TIME: Duration = Duration::from_secs(60);

/// WeChat wants this between placing a number and closing it.
pub const CLOSABLE_AFTER: Duration = Duration::from_secs(5 * 60);

/// How soon an unknown outcome is asked about first.
pub const UNKNOWN: Duration = Duration::from_secs(5);
/// The pause between questions about an unknown outcome doubles up to this.
const UNKNOWN_MAX: Duration = Duration::from_secs(300);

/// When to ask again about an attempt whose placing has no known outcome, after `done` questions: a payer may be
/// waiting for it, so sooner than about one that can be paid.
fn next_unknown(order: &Order, done: u32, now: Timestamp) -> Timestamp {
    if now >= order.expires_at {
        return next_query(order, done, now);
    }
    now.after(growing(UNKNOWN, done))
}

fn growing(first: Duration, done: u32) -> Duration {
    (first * (1 << done.min(6))).min(UNKNOWN_MAX)
}

/// When to ask after `done` questions were asked, the last of them (or the hand-out of parameters) at `now`.
pub fn next_query(order: &Order, done: u32, now: Timestamp) -> Timestamp {
    let eager = EAGER.get(done as usize).map(|seconds| with_jitter(order, Duration::from_secs(*seconds), now));
    let rarely = || with_jitter(order, if now.since(order.created_at) < DAILY { HOURLY } else { DAILY }, now);
    if now < order.expires_at {
        // The expiry is a moment worth asking at, whatever the rhythm; but one that is days away is no time to learn of
        // a payment.
        return eager.unwrap_or_else(rarely).min(order.expires_at);
    }
    let overtime = order.expires_at.after(AFTER_EXPIRY);
    if now < overtime {
        return overtime;
    }
    rarely()
}

/// When to ask again after a question that had no answer, at the latest: what the question was to find is still
/// unknown.
pub fn next_unanswered(order: &Order, now: Timestamp) -> Timestamp {
    with_jitter(order, if now < order.expires_at.after(DAILY) { UNKNOWN_MAX } else { HOURLY }, now)
}

/// When to poll an order next after `done` polls; `None` when there is nothing left to learn.
///
/// An order whose attempts are to be closed is polled as soon as WeChat allows the close, then with increasing
/// intervals, in addition to its regular query schedule.
pub fn next_poll(order: &Order, done: u32, now: Timestamp) -> Option<Timestamp> {
    if order.any_live() && order.wants_close(now) {
        let closable = order.attempts.iter().filter(|a| a.state.is_live()).map(|a| a.created_at.after(CLOSABLE_AFTER));
        let closable = closable.max().unwrap_or(now);
        return Some(if closable > now { closable } else { next_closing(order, done, now) });
    }
    match order.state {
        OrderState::Requested | OrderState::Payable => Some(match order.current().map(|a| a.state) {
            Some(AttemptState::Created | AttemptState::Unknown) => next_unknown(order, done, now),
            Some(AttemptState::Payable | AttemptState::Paid | AttemptState::Closed | AttemptState::Failed) | None => {
                next_query(order, done, now)
            }
        }),
        OrderState::Closed => after_close(order, done, now),
        // Slow money for one of its other numbers would be one payment too many.
        OrderState::Paid if order.attempts.len() > 1 => after_close(order, done, now),
        // A number from before another way to pay was refused may have been paid in time.
        OrderState::Failed if order.attempts.iter().any(|a| a.prepay.is_some()) => after_close(order, done, now),
        OrderState::Paid | OrderState::Failed => None,
    }
}

fn after_close(order: &Order, done: u32, now: Timestamp) -> Option<Timestamp> {
    AFTER_CLOSE.get(done as usize).map(|pause| with_jitter(order, *pause, now))
}

/// A close that WeChat does not confirm is retried quickly at first, then every five minutes while a caller may be
/// waiting, and from one day after the order's time as rarely as any query about an old order.
fn next_closing(order: &Order, done: u32, now: Timestamp) -> Timestamp {
    let soon = now.after(growing(CLOSING, done));
    if now < order.expires_at.after(DAILY) { soon } else { soon.max(next_query(order, done, now)) }
}

/// After `pause`, and up to a tenth of it and at most half a minute more, the same for the same order: orders that were
/// placed together are not asked about together.
fn with_jitter(order: &Order, pause: Duration, now: Timestamp) -> Timestamp {
    jittered(order.id, pause, now)
}

/// After `pause` and a little more, by the row's number.
pub(crate) fn jittered(id: i64, pause: Duration, now: Timestamp) -> Timestamp {
    let most_ms = u64::try_from(pause.as_millis() / 10).unwrap_or(u64::MAX).min(30_000);
    // Neighbours' numbers must not give neighbouring pauses: Fibonacci hashing spreads them over the whole span.
    let spread = (id.unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 1000;
    now.after(pause + Duration::from_millis(most_ms * spread / 1000))
}

/// Whether the order expired so long ago that no call still on its way can create it.
pub fn is_past_expiry(order: &Order, now: Timestamp) -> bool {
    now >= order.expires_at.after(AFTER_EXPIRY)
}

/// When a freshly recorded order is asked about if the worker that should place it dies.
pub const UNPLACED: Duration = Duration::from_secs(60);

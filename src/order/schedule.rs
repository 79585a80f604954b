//! When WeChat is asked about an order that nobody reported paid.
//!
//! A notification can be lost for good, so every payable order is asked about: soon and often while a payer is likely to be
//! paying, at its expiry, then ever more rarely until the bill has the last word.

use std::time::Duration;

use super::state::Order;
use crate::clock::Timestamp;

/// Since the previous question, while the payer is likely to be there.
const EAGER: &[u64] = &[30, 60, 120, 300, 600, 1200, 1800];
const AFTER_EXPIRY: Duration = Duration::from_secs(120);
const HOURLY: Duration = Duration::from_secs(3600);
const DAILY: Duration = Duration::from_secs(24 * 3600);

/// How soon an unknown outcome is asked about first.
pub const UNKNOWN: Duration = Duration::from_secs(5);
/// The pause between questions about an unknown outcome doubles up to this.
const UNKNOWN_MAX: Duration = Duration::from_secs(300);

/// When to ask again about an attempt whose placing has no known outcome, after `done` questions: a payer may be
/// waiting for it, so sooner than about one that can be paid.
pub fn next_unknown(order: &Order, done: u32, now: Timestamp) -> Timestamp {
    if now >= order.expires_at {
        return next_query(order, done, now);
    }
    now.after((UNKNOWN * (1 << done.min(6))).min(UNKNOWN_MAX))
}

/// When to ask after `done` questions were asked, the last of them (or the hand-out of parameters) at `now`.
pub fn next_query(order: &Order, done: u32, now: Timestamp) -> Timestamp {
    let eager = EAGER.get(done as usize).map(|seconds| now.after(Duration::from_secs(*seconds)));
    if now < order.expires_at {
        // The expiry is a moment worth asking at, whatever the rhythm.
        return eager.unwrap_or(order.expires_at).min(order.expires_at);
    }
    let overtime = order.expires_at.after(AFTER_EXPIRY);
    if now < overtime {
        return overtime;
    }
    if now.since(order.created_at) < DAILY { now.after(HOURLY) } else { now.after(DAILY) }
}

/// Whether the order expired so long ago that no call still on its way can create it.
pub fn is_past_expiry(order: &Order, now: Timestamp) -> bool {
    now >= order.expires_at.after(AFTER_EXPIRY)
}

/// When a freshly recorded order is asked about if the worker that should place it dies.
pub const UNPLACED: Duration = Duration::from_secs(60);

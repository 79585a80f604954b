//! When a notification is sent: at once, then fifteen repeats over a day until the merchant takes note.
//!
//! The intervals are WeChat's current ones, divided by the time scale. A restarted simulator goes on where its
//! journal ends.

use std::sync::Arc;
use std::time::Duration;

use super::notifier::{Letter, deliver};
use crate::sandbox::ledger::order::Order;
use crate::sandbox::state::World;

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
pub(in crate::sandbox) fn start(world: &Arc<World>, letter: Letter) {
    spawn(world, letter, 1, Duration::ZERO);
}

/// Takes up what the journal shows as not acknowledged.
pub(in crate::sandbox) fn resume(world: &Arc<World>) {
    let now = world.now();
    let pending: Vec<(Letter, u32, Duration)> = world
        .book()
        .orders()
        .iter()
        .flat_map(|order| letters(world, order).into_iter().map(move |letter| (order, letter)))
        .filter(|(order, letter)| !order.acknowledged(letter.news().as_ref()))
        .filter_map(|(order, letter)| {
            let Some(last) = order.last_attempt(letter.news().as_ref()) else {
                return Some((letter, 1, Duration::ZERO));
            };
            let made = last.attempt?;
            let due = last.answered_at.after(wait_after(made, world.time_scale)?);
            Some((letter, made + 1, due.since(now)))
        })
        .collect();
    for (letter, attempt, wait) in pending {
        spawn(world, letter, attempt, wait);
    }
}

/// Everything an order has to tell.
fn letters(world: &World, order: &Order) -> Vec<Letter> {
    let refunds = order.refunds.iter().filter_map(|refund| world.refund_letter(order, refund));
    world.letter(order).into_iter().chain(refunds).collect()
}

fn spawn(world: &Arc<World>, letter: Letter, first: u32, wait: Duration) {
    let shared = world.clone();
    world.tasks.spawn(async move {
        // Stopped in the middle of an attempt, the journal does not know it: it is made again.
        let _ = shared.stop.run_until_cancelled(run(&shared, &letter, first, wait)).await;
    });
}

async fn run(world: &World, letter: &Letter, first: u32, mut wait: Duration) {
    let (mch_id, out_trade_no) = (letter.terms.mch_id.as_str(), letter.terms.out_trade_no.as_str());
    for attempt in first..=ATTEMPTS {
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if acknowledged(world, letter) {
            return;
        }
        let hit = world.faults.meet(letter.on(), mch_id, out_trade_no);
        deliver(world, letter, Some(attempt), hit).await;
        if acknowledged(world, letter) {
            return;
        }
        wait = wait_after(attempt, world.time_scale).unwrap_or_default();
    }
}

fn acknowledged(world: &World, letter: &Letter) -> bool {
    let book = world.book();
    let order = book.order(letter.terms.mch_id.as_str(), letter.terms.out_trade_no.as_str());
    order.is_some_and(|order| order.acknowledged(letter.news().as_ref()))
}

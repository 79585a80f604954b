//! The loop: takes as many messages as there are free places, and begins work on them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::delivery::{Arriving, deliver};
use super::together::deliver_together;
use super::worker::Worker;
use crate::bus::dead_letter::Parking;
use crate::bus::message::Delivery;
use crate::bus::subscription::{Arrived, Receipt, Source};
use crate::bus::verdict::Verdict;

/// From the beginning of one group to that of the next, while there are free places: under load groups grow, and more
/// deliveries share what a group costs (a transaction, an acknowledgement, a round of the feed).
const PACE: Duration = Duration::from_millis(10);

/// Deliveries of one group, whatever places there are: callers may wait until its write has ended.
const MOST_TOGETHER: usize = 128;

/// Works until cancelled, then lets the running handlers finish.
pub(in crate::bus) async fn work<H, F, P>(worker: Arc<Worker<H, P>>, mut source: impl Source, concurrency: usize)
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
    P: Parking,
{
    let places = Arc::new(Semaphore::new(concurrency.max(1)));
    let mut running: JoinSet<()> = JoinSet::new();
    let mut cut_off = worker.cut_off.subscribe();
    let mut next_group = Instant::now();
    loop {
        while running.try_join_next().is_some() {}
        let free = places.available_permits();
        let most = if worker.together.is_some() { room(&worker, free, concurrency) } else { free };
        if *worker.cut_off.borrow() {
            source.rest().await;
            match worker.cancel.run_until_cancelled(worker.wait_for_the_database()).await {
                Some(()) => continue,
                None => break,
            }
        }
        tokio::select! {
            biased;
            () = worker.cancel.cancelled() => break,
            // The sender is the worker's own and lives as long as it does.
            _ = cut_off.wait_for(|cut_off| *cut_off) => {}
            Some(_) = running.join_next(), if !running.is_empty() => {}
            // A member of a group gives its place back before its group has ended.
            _ = places.acquire(), if free == 0 => {}
            // Until no caller waits any more.
            () = tokio::time::sleep(PACE), if free > 0 && most == 0 => {}
            () = tokio::time::sleep_until(next_group), if next_group > Instant::now() => {}
            arrived = source.take(most), if most > 0 && next_group <= Instant::now() => {
                if worker.together.is_some() && arrived.len() < most {
                    next_group = Instant::now() + PACE;
                }
                begin(&worker, &places, &mut running, arrived);
            }
        }
    }
    source.close().await;
    while running.join_next().await.is_some() {}
}

/// How large a group may be now. While callers wait in this process, no more deliveries of this consumer are under way
/// than one group has: all of them share the cores.
fn room<H, P>(worker: &Worker<H, P>, free: usize, concurrency: usize) -> usize {
    let spare = if worker.callers.are_there() { concurrency.saturating_sub(MOST_TOGETHER) } else { 0 };
    free.saturating_sub(spare).min(MOST_TOGETHER)
}

/// Begins work on what arrived, which never is more than there are places.
fn begin<H, F, P>(
    worker: &Arc<Worker<H, P>>,
    places: &Arc<Semaphore>,
    running: &mut JoinSet<()>,
    arrived: Vec<Arrived<impl Receipt>>,
) where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
    P: Parking,
{
    let place = || Arc::clone(places).try_acquire_owned().ok();
    let (group, alone): (Vec<_>, Vec<_>) = arrived
        .into_iter()
        .map(Arriving::from)
        .partition(|one| worker.together.is_some() && one.may_join(worker.spec.max_attempts));
    if let Some(together) = worker.together.clone().filter(|_| !group.is_empty()) {
        let (worker, places) = (Arc::clone(worker), group.iter().map(|_| place()).collect());
        running.spawn(async move { deliver_together(&worker, &together, (group, places)).await });
    }
    for one in alone {
        let (worker, place) = (Arc::clone(worker), place());
        running.spawn(async move {
            deliver(&worker, one).await;
            drop(place);
        });
    }
}

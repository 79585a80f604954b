//! Deliveries that are handled together.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::OwnedSemaphorePermit;

use super::delivery::{Arriving, judged_at_last, settle};
use super::worker::{Together, Worker};
use crate::bus::dead_letter::Parking;
use crate::bus::message::Delivery;
use crate::bus::subscription::Receipt;
use crate::bus::verdict::{Tries, Verdict, next_step};

/// Handles deliveries in one call. Those that it does not bring to an end are seen to one by one, all of them where it
/// panics or hangs: the one that is the cause must not hold up the others.
pub(super) async fn deliver_together<H, F, P>(
    worker: &Worker<H, P>,
    together: &Together,
    (group, places): (Vec<Arriving<impl Receipt>>, Vec<Option<OwnedSemaphorePermit>>),
) where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
    P: Parking,
{
    let whole = async {
        let deliveries: Vec<Delivery> = group.iter().map(|one| one.delivery.clone()).collect();
        group.iter().for_each(|_| crate::failpoint::point("bus.delivered"));
        let handling = AssertUnwindSafe(async { together(deliveries).await }).catch_unwind();
        let verdicts = match tokio::time::timeout(worker.spec.max_handling(), handling).await {
            Ok(Ok(verdicts)) => verdicts,
            Ok(Err(_)) | Err(_) => {
                tracing::error!(consumer = %worker.name, deliveries = group.len(), "a group is handled one by one");
                Vec::new()
            }
        };
        let verdicts = verdicts.into_iter().chain(std::iter::repeat(None));
        // One that takes long keeps no place but its own.
        let ends = group.iter().zip(verdicts).zip(places).map(async |((one, verdict), place)| {
            end(worker, one, verdict).await;
            drop(place);
        });
        join_all(ends).await;
    };
    // One sign of life after the other: each is an answer to its own delivery.
    let alive = async {
        loop {
            tokio::time::sleep(worker.spec.ack_wait() / 3).await;
            join_all(group.iter().map(|one| one.receipt.keep_alive())).await;
        }
    };
    tokio::select! {
        () = whole => {}
        () = alive => {}
    }
}

/// Brings one delivery of a group to its end. Nothing or an outage as its verdict: it is handled alone.
async fn end<H, F, P>(worker: &Worker<H, P>, one: &Arriving<impl Receipt>, verdict: Option<Verdict>)
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Verdict>,
    P: Parking,
{
    let verdict = match verdict {
        Some(verdict @ (Verdict::Done | Verdict::Retry { .. } | Verdict::Locked { .. } | Verdict::Park { .. })) => {
            verdict
        }
        outage_or_none => {
            // After an outage it may have done a part of its work.
            let least = if outage_or_none.is_some() { 2 } else { 1 };
            let again = Delivery { attempt: one.delivery.attempt.max(least), ..one.delivery.clone() };
            match judged_at_last(worker, again).await {
                Some(verdict) => verdict,
                None => return one.receipt.give_back().await,
            }
        }
    };
    let tries = Tries {
        attempt: one.delivery.attempt,
        on_bus: one.on_bus,
        max_attempts: worker.spec.max_attempts,
        bus_has_room: one.receipt.has_room(),
    };
    let step = next_step(verdict, tries);
    settle(worker, step, one.delivery.clone(), one.first_error.clone(), &one.receipt).await;
}

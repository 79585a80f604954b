//! Bundles and the places of a worker: as many as it has places for, and its own while they wait for one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use wxpay_worker::bus::{Delivery, Together, Verdict};

use super::support::*;
use crate::harness::bus::{Consumer, NEEDS, Needs, Shelf, message, publish_all, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_takes_as_many_bundles_as_it_has_places_for() {
    let stage = Stage::open(NEEDS).await;
    let (go, gone) = watch::channel(false);
    let (sizes, mut groups) = mpsc::unbounded_channel();
    let together: Together = Arc::new(move |deliveries| {
        let (mut gone, sizes) = (gone.clone(), sizes.clone());
        Box::pin(async move {
            let _ = gone.wait_for(|gone| *gone).await;
            let _ = sizes.send(deliveries.len());
            deliveries.iter().map(|_| Some(Verdict::Done)).collect()
        })
    });
    let worker = stage.other_process().await;
    let consumer = Consumer::together(&worker, 64, &Shelf::new(), together, async |_| Verdict::Done);
    stage.until_read().await;
    // Two fit into a bundle. None of them has an end before all are stored.
    let large = |n: u32| message(format!("{n}{}", "x".repeat(30_000)));
    publish_all(&stage.bus, (0..400).map(large).collect()).await;
    go.send(true).unwrap();
    stage.until_drained().await;
    consumer.stop().await;
    let sizes: Vec<usize> = std::iter::from_fn(|| groups.recv().now_or_never().flatten()).collect();
    let (all, bundles) = stage.stored().await;
    assert!(bundles > 100, "{bundles} bundles of {all}");
    assert!(sizes.iter().any(|size| *size > 16), "of many bundles at once: {sizes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_whose_members_wait_for_a_place_is_not_given_to_another_process() {
    let stage = Stage::open(Needs { ack_wait_ms: 5000, ..NEEDS }).await;
    let shelf = Shelf::new();
    let (done, mut ends) = mpsc::unbounded_channel();
    let alone = done.clone();
    // Four at once, so that most of them wait for longer than the server does.
    let together: Together = Arc::new(move |deliveries| {
        let done = done.clone();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            deliveries.iter().for_each(|one| drop(done.send(text(one))));
            deliveries.iter().map(|_| Some(Verdict::Done)).collect()
        })
    });
    let of_one = move |delivery: Delivery| {
        let _ = alone.send(text(&delivery));
        async { Verdict::Done }
    };
    let consumer = Consumer::together(&stage.other_process().await, 4, &shelf, together, of_one);
    stage.until_read().await;
    publish_all(&stage.bus, numbered(0..60)).await;
    stage.until_drained().await;
    consumer.stop().await;
    let bundles = stage.stored().await.1;
    assert_eq!((stage.bundle_deliveries().await, bundles > 0), (bundles, true), "each was delivered once");
    let ended: Vec<String> = std::iter::from_fn(|| ends.try_recv().ok()).collect();
    assert_eq!((ended.len(), ended.iter().collect::<BTreeSet<_>>().len()), (60, 60), "{ended:?}");
    assert!(shelf.deferred(0).await.is_empty(), "none was taken apart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_the_database_never_takes_leaves_its_bundle() {
    let stage = Stage::open(NEEDS).await;
    // As it is, and in plain texts.
    let shelf = Shelf::that_refuses(2);
    let (done, mut ends) = mpsc::unbounded_channel();
    let verdict = move |one: &Delivery| {
        if text(one) == "12" && one.attempt == 1 {
            return Verdict::Retry { after: Duration::from_millis(50), why: "not yet".into() };
        }
        let _ = done.send((text(one), one.attempt));
        Verdict::Done
    };
    let of_many = verdict.clone();
    let together: Together = Arc::new(move |deliveries| {
        let verdicts = deliveries.iter().map(|one| Some(of_many(one))).collect();
        Box::pin(async move { verdicts })
    });
    let of_one = move |delivery: Delivery| {
        let verdict = verdict(&delivery);
        async { verdict }
    };
    let consumer = Consumer::together(&stage.other_process().await, 64, &shelf, together, of_one);
    stage.until_read().await;
    publish_all(&stage.bus, numbered(0..40)).await;
    stage.until_drained().await;
    consumer.stop().await;
    let ended: BTreeSet<(String, u32)> = std::iter::from_fn(|| ends.try_recv().ok()).collect();
    assert_eq!(ended.len(), 40, "{ended:?}");
    assert!(ended.contains(&("12".to_owned(), 2)), "as a message of its own, which counts its attempts: {ended:?}");
    let bundles = stage.stored().await.1;
    assert_eq!((stage.bundle_deliveries().await, bundles > 0), (bundles, true), "the bundle does not come again");
    assert!(shelf.deferred(0).await.is_empty());
}

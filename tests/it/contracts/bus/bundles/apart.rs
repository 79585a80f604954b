//! Ends of a bundle's members: done, parked, deferred, or of a message that ends its worker.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use futures_util::future::{join_all, pending};
use tokio::sync::{mpsc, watch};
use wxpay_worker::bus::{Bus, Deferred, Delivery, Peek, Together, Verdict};

use super::support::*;
use crate::harness::bus::{Consumer, NEEDS, Needs, SUBJECT, Shelf, message, publish_all, text};
use crate::harness::within_timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_an_end_leaves_its_bundle_and_holds_up_no_other() {
    let stage = Stage::open(NEEDS).await;
    let shelf = Shelf::new();
    let (done, mut ends) = mpsc::unbounded_channel();
    let alone = done.clone();
    let together: Together = Arc::new(move |deliveries| {
        let verdict = |one: &Delivery| match text(one).as_str() {
            "11" => Some(Verdict::Park { reason: "odd", why: "eleven".into() }),
            "12" => Some(Verdict::Retry { after: Duration::from_millis(50), why: "not yet".into() }),
            "13" => None,
            _ => {
                let _ = done.send(text(one));
                Some(Verdict::Done)
            }
        };
        let verdicts = deliveries.iter().map(verdict).collect();
        Box::pin(async move { verdicts })
    });
    let of_one = move |delivery: Delivery| {
        let _ = alone.send(format!("{} alone", text(&delivery)));
        async { Verdict::Done }
    };
    let consumer = Consumer::together(&stage.other_process().await, 64, &shelf, together, of_one);
    stage.until_read().await;
    publish_all(&stage.bus, numbered(0..40)).await;
    let parked = shelf.parked(1).await.remove(0);
    assert_eq!((parked.message.payload.as_slice(), parked.reason, parked.attempts), (&b"11"[..], "odd", 1));
    assert_eq!((parked.consumer.as_str(), parked.message.subject.as_str()), ("worker", SUBJECT));
    let Deferred { message, consumer: of, attempts, .. } = shelf.deferred(1).await.remove(0);
    assert_eq!((message.payload.as_slice(), of.as_str(), attempts), (&b"12"[..], "worker", 1));
    stage.until_drained().await;
    consumer.stop().await;
    let mut all = BTreeSet::new();
    while let Ok(text) = ends.try_recv() {
        all.insert(text);
    }
    assert_eq!(all.len(), 38, "{all:?}");
    assert!(all.contains("13 alone"));
    assert!(stage.stored().await.1 > 0, "a bundle was there");
}

/// A process dies each time it handles this message, as one would whose memory it takes.
fn dies_of_poison(bus: &Bus, shelf: &Arc<Shelf>) -> (Consumer, watch::Receiver<bool>, mpsc::UnboundedReceiver<String>) {
    let (met, dead) = watch::channel(false);
    let met = Arc::new(met);
    let (done, ends) = mpsc::unbounded_channel();
    let (in_group, of_many) = (Arc::clone(&met), done.clone());
    let together: Together = Arc::new(move |deliveries| {
        let (met, done) = (Arc::clone(&in_group), of_many.clone());
        Box::pin(async move {
            if deliveries.iter().any(|one| text(one) == "poison") {
                met.send_replace(true);
                return pending().await;
            }
            deliveries.iter().for_each(|one| drop(done.send(text(one))));
            deliveries.iter().map(|_| Some(Verdict::Done)).collect()
        })
    });
    let of_one = move |delivery: Delivery| {
        let (met, done) = (Arc::clone(&met), done.clone());
        async move {
            if text(&delivery) == "poison" {
                met.send_replace(true);
                return pending().await;
            }
            let _ = done.send(text(&delivery));
            Verdict::Done
        }
    };
    (Consumer::together(bus, 64, shelf, together, of_one), dead, ends)
}

/// The scheduler's part: what was deferred is published again; how much was by now.
async fn publish_due(stage: &Stage, shelf: &Shelf, published: usize) -> usize {
    let deferred = shelf.deferred(0).await;
    let again = deferred[published..].iter().map(|one| stage.bus.publish(one.message.clone()));
    join_all(again).await.into_iter().for_each(|published| published.unwrap());
    deferred.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_ends_its_worker_is_taken_apart_and_the_poison_alone_is_parked() {
    let needs = Needs { ack_wait_ms: 6000, max_attempts: 3, ..NEEDS };
    let stage = Stage::open(needs).await;
    let shelf = Shelf::new();
    let (mut consumer, mut dead, mut ends) = dies_of_poison(&stage.other_process().await, &shelf);
    stage.until_read().await;
    let mut messages = numbered(0..40);
    messages.insert(20, message("poison"));
    publish_all(&stage.bus, messages).await;
    let mut all = BTreeSet::new();
    let mut published = 0;
    // Its deaths: in the bundle, in a group of single messages, alone; after that it is parked unseen.
    for death in ["in the bundle", "in a group", "alone"] {
        let met = async {
            while !*dead.borrow_and_update() {
                published = publish_due(&stage, &shelf, published).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within_timeout(death, met).await;
        if death == "alone" {
            published = publish_due(&stage, &shelf, published).await;
            stage.until_left("the others' ends", 1).await;
        }
        consumer.vanish().await;
        while let Ok(text) = ends.try_recv() {
            all.insert(text);
        }
        (consumer, dead, ends) = dies_of_poison(&stage.other_process().await, &shelf);
    }
    let parked = shelf.parked(1).await.remove(0);
    assert_eq!((parked.message.payload.as_slice(), parked.reason, parked.attempts), (&b"poison"[..], "exhausted", 4));
    let deferred = shelf.deferred(published).await;
    assert!(deferred.len() > 1, "the members of the bundle became messages of their own");
    assert!(deferred.iter().all(|one| (one.attempts, one.consumer.as_str()) == (1, "worker")), "{deferred:?}");
    publish_due(&stage, &shelf, published).await;
    within_timeout("the others", async {
        while all.len() < 40 {
            all.insert(ends.recv().await.unwrap());
        }
    })
    .await;
    stage.until_drained().await;
    consumer.stop().await;
    assert_eq!((shelf.parked_now(), all.contains("poison")), (1, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_messages_of_a_bundle_are_read_without_being_taken_and_a_strangers_is_parked() {
    let stage = Stage::open(NEEDS).await;
    let shelf = Shelf::new();
    let (go, gone) = watch::channel(false);
    let together: Together = Arc::new(move |deliveries| {
        let mut gone = gone.clone();
        Box::pin(async move {
            let _ = gone.wait_for(|gone| *gone).await;
            deliveries.iter().map(|_| Some(Verdict::Done)).collect()
        })
    });
    let consumer = Consumer::together(&stage.other_process().await, 64, &shelf, together, async |_| Verdict::Done);
    stage.until_read().await;
    let messages = numbered(0..20);
    publish_all(&stage.bus, messages.clone()).await;
    let peek = Peek { stream: "T_IN".into(), consumer: None, after: 0, limit: 50 };
    let rows = stage.bus.peek(&peek).await.unwrap().unwrap();
    let ids: BTreeSet<String> = rows.iter().map(|row| row.id.unwrap().to_string()).collect();
    assert_eq!(ids, messages.iter().map(|message| message.id.to_string()).collect());
    assert!(rows.iter().all(|row| row.subject == SUBJECT));
    let numbers: BTreeSet<u64> = rows.iter().map(|row| row.seq).collect();
    assert!(numbers.len() < 20, "the members of a bundle have its number: {numbers:?}");
    let (all, bundles) = stage.stored().await;
    let of_bundles = stage.bus.lag().await.unwrap().into_iter().find(|lag| lag.consumer.as_str() == BUNDLES).unwrap();
    assert_eq!(
        (numbers.len() as u64, of_bundles.pending + of_bundles.in_flight),
        (all, bundles),
        "a bundle counts once"
    );
    go.send(true).unwrap();
    let context = jetstream::new(async_nats::connect(stage.server().url()).await.unwrap());
    context.publish(BUNDLE_SUBJECT, "who am I".into()).await.unwrap().await.unwrap();
    let parked = shelf.parked(1).await.remove(0);
    assert_eq!((parked.reason, parked.message.payload.as_slice()), ("alien", b"who am I".as_slice()));
    stage.until_drained().await;
    consumer.stop().await;
}

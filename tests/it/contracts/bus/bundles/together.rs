//! What travels together, and while who reads it.

use std::collections::BTreeSet;

use wxpay_worker::bus::{Bus, Message};

use super::support::*;
use crate::harness::bus::{
    Consumer, NEEDS, SUBJECT, Shelf, message, next, publish, publish_all, settings, text, topology,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_wait_together_are_one_message_and_one_acknowledgement() {
    let stage = Stage::open(NEEDS).await;
    let (consumer, mut deliveries) = recording(&stage.other_process().await, &Shelf::new());
    stage.until_read().await;
    let mut messages = numbered(0..300);
    messages[7] = messages[7].clone().with_header("traceparent", "00-a\"b-01");
    publish_all(&stage.bus, messages.clone()).await;
    let seen = seen(&mut deliveries, 300).await;
    stage.until_drained().await;
    for one in &seen {
        let sent = messages.iter().find(|message| message.id == one.message.id).unwrap();
        assert_eq!((&one.message.payload, &one.message.subject), (&sent.payload, &sent.subject));
        assert_eq!((one.message.headers.clone(), one.attempt), (sent.headers.clone(), 1));
    }
    assert_eq!(seen.iter().map(text).collect::<BTreeSet<_>>(), texts(&messages), "each once");
    let (all, bundles) = stage.stored().await;
    // What came first, then what waited meanwhile: 256 and the rest.
    assert!(all <= 6 && bundles > 0, "{all} messages, {bundles} bundles: 300 travelled");
    let info = stage.stream().await.consumer_info(BUNDLES).await.unwrap();
    assert_eq!((info.ack_floor.consumer_sequence, info.num_redelivered), (bundles, 0), "one acknowledgement each");
    // One that is alone is as before.
    publish(&stage.bus, message("alone")).await;
    assert_eq!(text(&next(&mut deliveries).await), "alone");
    assert_eq!(stage.stored().await, (all + 1, bundles));
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_of_the_version_before_gets_every_message_and_never_a_bundle() {
    let stage = Stage::open(NEEDS).await;
    let shelf = Shelf::new();
    let before = Bus::connect_with(&settings(&stage.backend, NEEDS), None, topology(NEEDS)).await.unwrap().0;
    let (consumer, mut deliveries) = Consumer::recording(&before, 64, &shelf);
    for round in 0..3 {
        publish_all(&stage.bus, numbered(round * 100..round * 100 + 100)).await;
    }
    let seen = seen(&mut deliveries, 300).await;
    assert!(seen.iter().all(|one| one.message.subject == SUBJECT));
    assert_eq!(seen.iter().map(text).collect::<BTreeSet<_>>().len(), 300);
    assert_eq!(stage.stored().await, (300, 0), "each is a message of its own");
    // A process that reads bundles begins beside it; the two do not meet.
    let (newer, mut bundled) = recording(&stage.other_process().await, &shelf);
    stage.until_read().await;
    let mut count = 0;
    while stage.stored().await.1 == 0 {
        // What was found of readers before counts for two seconds.
        publish_all(&stage.bus, numbered(300 + count..310 + count)).await;
        count += 10;
    }
    let mut all = BTreeSet::new();
    while all.len() < count as usize {
        let (one, is_old) = tokio::select! {
            one = next(&mut deliveries) => (one, true),
            one = next(&mut bundled) => (one, false),
        };
        assert!(one.message.subject == SUBJECT, "{is_old}: {}", one.message.subject);
        all.insert(text(&one));
    }
    stage.until_drained().await;
    assert_eq!(shelf.parked_now(), 0);
    consumer.stop().await;
    newer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_off_each_message_travels_alone() {
    let stage = Stage::with(NEEDS, |settings| settings.bundles = false).await;
    let (consumer, mut deliveries) = recording(&stage.other_process().await, &Shelf::new());
    stage.until_read().await;
    publish_all(&stage.bus, numbered(0..100)).await;
    seen(&mut deliveries, 100).await;
    assert_eq!(stage.stored().await, (100, 0));
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_counts_attempts_or_is_published_again_is_in_no_bundle() {
    let stage = Stage::open(NEEDS).await;
    let (consumer, mut deliveries) = recording(&stage.other_process().await, &Shelf::new());
    stage.until_read().await;
    let again = |message: Message| message.with_header("Wxpay-Attempts", "3").with_header("Wxpay-Again", "3");
    publish_all(&stage.bus, numbered(0..40).into_iter().map(again).collect()).await;
    let seen = seen(&mut deliveries, 40).await;
    assert!(seen.iter().all(|one| one.attempt == 4));
    assert_eq!(stage.stored().await, (40, 0));
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_is_no_larger_than_its_stream_allows() {
    let stage = Stage::open(NEEDS).await;
    let (consumer, mut deliveries) = recording(&stage.other_process().await, &Shelf::new());
    stage.until_read().await;
    let large = |n: u32| message(format!("{n}{}", "x".repeat(30_000)));
    publish_all(&stage.bus, (0..60).map(large).collect()).await;
    let seen = seen(&mut deliveries, 60).await;
    assert_eq!(seen.iter().map(text).collect::<BTreeSet<_>>().len(), 60);
    let (all, bundles) = stage.stored().await;
    assert!((30..60).contains(&all) && bundles > 0, "two fit into one: {all} messages, {bundles} bundles");
    consumer.stop().await;
}

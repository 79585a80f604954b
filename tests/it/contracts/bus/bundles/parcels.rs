//! What is published together, and again: the same to the server.

use std::collections::BTreeSet;

use async_nats::jetstream;
use wxpay_worker::bus::{Parcel, PublishError};

use super::support::*;
use crate::harness::bus::{NEEDS, Shelf, message, publish_all, text};
use crate::harness::cable::Cable;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parcel_that_is_published_again_without_an_answer_is_stored_once() {
    let stage = Stage::open(NEEDS).await;
    let (consumer, mut deliveries) = recording(&stage.other_process().await, &Shelf::new());
    stage.until_read().await;
    let cable = Cable::to(stage.server().url().trim_start_matches("nats://")).await;
    let bus = stage.behind(&cable).await;
    let parcel = Parcel::new(numbered(0..300));
    // How it is packed is decided with an answer; whether it was stored is not known twice.
    bus.publish_all(&Parcel::new(numbered(1000..1002))).await.into_iter().for_each(|stored| stored.unwrap());
    cable.hold(true);
    let others = numbered(2000..2003);
    for other in &others[..2] {
        let (outcomes, _) = tokio::join!(bus.publish_all(&parcel), bus.publish(other.clone()));
        assert!(outcomes.iter().all(|one| *one == Err(PublishError::Timeout)), "{outcomes:?}");
    }
    cable.hold(false);
    // What is published beside it is in none of its bundles.
    let (outcomes, beside) = tokio::join!(bus.publish_all(&parcel), bus.publish(others[2].clone()));
    outcomes.into_iter().chain([beside]).for_each(|stored| stored.unwrap());
    for other in &others[..2] {
        bus.publish(other.clone()).await.unwrap();
    }
    let mut seen = seen(&mut deliveries, 305).await;
    stage.until_drained().await;
    while let Ok(one) = deliveries.try_recv() {
        seen.push(one);
    }
    let all: BTreeSet<String> = seen.iter().map(text).collect();
    assert_eq!((seen.len(), all.len()), (305, 305), "each once: the server knew the bundles again");
    // 256 and 44, the bundle before them, and each of the others.
    assert_eq!(stage.stored().await, (6, 3));
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_the_server_takes_no_more_is_sent_member_by_member() {
    let stage = Stage::open(NEEDS).await;
    let (consumer, mut deliveries) = recording(&stage.other_process().await, &Shelf::new());
    stage.until_read().await;
    // As a person may set it.
    let context = jetstream::new(async_nats::connect(stage.server().url()).await.unwrap());
    let config = stage.stream().await.cached_info().config.clone();
    context.update_stream(jetstream::stream::Config { max_message_size: 2000, ..config }).await.unwrap();
    let of_500 = |n: u32| message(format!("{n}{}", "x".repeat(500)));
    publish_all(&stage.bus, (0..40).map(of_500).collect()).await;
    let parcel = Parcel::new((40..80).map(of_500).chain([message("y".repeat(3000))]).collect());
    let (refused, taken): (Vec<_>, Vec<_>) = stage.bus.publish_all(&parcel).await.into_iter().partition(Result::is_err);
    assert_eq!((taken.len(), refused), (40, vec![Err(PublishError::TooLarge)]), "what is too large alone");
    let seen = seen(&mut deliveries, 80).await;
    assert_eq!(seen.iter().map(text).collect::<BTreeSet<_>>().len(), 80);
    assert_eq!(stage.stored().await.0, 80);
    consumer.stop().await;
}

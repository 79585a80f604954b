//! Atomic batches on NATS: for many messages that wait together, and where the server has them.

use std::collections::HashSet;

use async_nats::jetstream;
use wxpay_worker::bus::{Message, Parcel, PublishError};

use crate::harness::bus::{Backend, NEEDS, SUBJECT, TestBus, message, publish_all};

/// What is stored, in its order: the text, and the batch that it came with.
async fn stored(stage: &TestBus) -> Vec<(String, Option<String>)> {
    let context = jetstream::new(async_nats::connect(stage.nats().url()).await.unwrap());
    let mut stream = context.get_stream("T_IN").await.unwrap();
    let count = stream.info().await.unwrap().state.messages;
    let mut stored = Vec::new();
    for sequence in 1..=count {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let batch = message.headers.get("Nats-Batch-Id").map(ToString::to_string);
        stored.push((String::from_utf8(message.payload.to_vec()).unwrap(), batch));
    }
    stored
}

fn numbered(numbers: std::ops::Range<u32>) -> Vec<Message> {
    numbers.map(|n| message(n.to_string())).collect()
}

fn texts(stored: &[(String, Option<String>)]) -> Vec<&str> {
    stored.iter().map(|(text, _)| text.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_that_wait_together_are_stored_as_one_batch() {
    let stage = TestBus::open(Backend::nats().await, NEEDS).await;
    assert!(stage.report.atomic_batches);
    publish_all(&stage.bus, numbered(0..300)).await;
    // Every acknowledgement has been given: everything is in the stream.
    let stored = stored(&stage).await;
    assert_eq!(stored.len(), 300);
    let in_batches: Vec<&String> = stored.iter().filter_map(|(_, batch)| batch.as_ref()).collect();
    assert!(in_batches.len() > 200, "{} went in batches", in_batches.len());
    let batches: HashSet<&String> = in_batches.into_iter().collect();
    assert!(batches.len() < 10, "messages that waited together went in {} batches", batches.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_server_gets_single_publishes() {
    let stage = TestBus::open(Backend::nats_old().await, NEEDS).await;
    assert!(!stage.report.atomic_batches);
    publish_all(&stage.bus, numbered(0..300)).await;
    let stored = stored(&stage).await;
    assert_eq!(stored.len(), 300);
    assert!(stored.iter().all(|(_, batch)| batch.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_with_a_duplicate_inside_stores_the_others() {
    let stage = TestBus::open(Backend::nats().await, NEEDS).await;
    let known = message("known");
    stage.publish(known.clone()).await;
    let mut messages = numbered(0..50);
    messages.insert(25, known);
    publish_all(&stage.bus, messages).await;
    assert_eq!(stored(&stage).await.len(), 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_messages_go_singly_in_their_order_and_twelve_are_a_batch() {
    let stage = TestBus::open(Backend::nats().await, NEEDS).await;
    assert!(stage.report.atomic_batches);
    let few = Parcel::new(numbered(0..11));
    stage.bus.publish_all(&few).await.into_iter().for_each(|outcome| outcome.unwrap());
    // Again: the server knows each by its id.
    stage.bus.publish_all(&few).await.into_iter().for_each(|outcome| outcome.unwrap());
    let singly = stored(&stage).await;
    assert_eq!(texts(&singly), (0..11).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(singly.iter().all(|(_, batch)| batch.is_none()), "{singly:?}");
    let many = Parcel::new(numbered(11..23));
    stage.bus.publish_all(&many).await.into_iter().for_each(|outcome| outcome.unwrap());
    let all = stored(&stage).await;
    assert_eq!(texts(&all), (0..23).map(|n| n.to_string()).collect::<Vec<_>>());
    let batch = &all[11].1;
    assert!(batch.is_some() && all[11..].iter().all(|(_, other)| other == batch), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_few_messages_each_has_an_outcome_of_its_own() {
    let stage = TestBus::open(Backend::nats().await, NEEDS).await;
    // As a person may set it.
    let context = jetstream::new(async_nats::connect(stage.nats().url()).await.unwrap());
    let config = context.get_stream("T_IN").await.unwrap().cached_info().config.clone();
    context.update_stream(jetstream::stream::Config { max_message_size: 2000, ..config }).await.unwrap();
    let large = Message::new(SUBJECT, vec![b'x'; 3000]);
    let parcel = Parcel::new(vec![message("before"), large, message("behind")]);
    let outcomes = stage.bus.publish_all(&parcel).await;
    assert_eq!(outcomes, [Ok(()), Err(PublishError::TooLarge), Ok(())]);
    assert_eq!(texts(&stored(&stage).await), ["before", "behind"]);
}

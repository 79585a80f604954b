//! What fills a stream, and what makes room in it: messages that are done with never refuse new ones for longer than
//! they must be kept.

use std::time::Duration;

use async_nats::jetstream;
use wxpay_worker::bus::{Message, PublishError};
use wxpay_worker::store::Db;

use crate::harness::bus::{Backend, Consumer, EVENT_SUBJECT, NEEDS, Needs, SUBJECT, Shelf, TestBus, message, next};
use crate::harness::db::TestDb;
use crate::harness::nats::{NatsServer, Version};
use crate::harness::sql::number;
use crate::harness::within_timeout;

/// Sixteen messages of [`large`] fill it; what is done with is remembered for ten minutes.
const SMALL: Needs = Needs { max_bytes: 64 * 1024, ..NEEDS };

fn large() -> Message {
    Message::new(SUBJECT, vec![b'x'; 4000])
}

async fn percent(stage: &TestBus, stream: &str) -> u64 {
    let fills = within_timeout("the fill", stage.bus.fill()).await.unwrap();
    let fill = fills.iter().find(|fill| fill.stream == stream).unwrap();
    assert_eq!((fill.max_bytes, fill.refuses), (64 * 1024, stream == "T_IN"));
    fill.percent()
}

/// Publishes until the stream is full, and answers with what it took.
async fn fill(stage: &TestBus) -> Vec<Message> {
    let mut taken = Vec::new();
    let mut next = large();
    loop {
        match stage.bus.publish(next.clone()).await {
            Ok(()) => taken.push(std::mem::replace(&mut next, large())),
            // A busy machine: it is the same message again.
            Err(PublishError::Timeout) => {}
            Err(e) => {
                assert_eq!(e, PublishError::Full);
                return taken;
            }
        }
    }
}

async fn until_done(stage: &TestBus) {
    stage.until_lag("the acknowledgements", |lag| lag.pending + lag.in_flight == 0).await;
}

async fn embedded(db: TestDb, needs: Needs) -> (TestBus, Db) {
    let seen = db.open().await;
    (TestBus::open(Backend::Embedded(db), needs).await, seen)
}

/// The counter of a stream, and what its rows add up to.
async fn counted(db: &Db) -> (i64, i64) {
    let counter = number(db, "SELECT size_bytes FROM bus_streams WHERE stream = 'T_IN'").await;
    let sum = "SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM bus_messages WHERE stream = 'T_IN'";
    (counter, number(db, sum).await)
}

async fn work_that_is_done_takes_no_room_and_its_key_stays(db: TestDb) {
    let (stage, db) = embedded(db, SMALL).await;
    let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 8, &Shelf::new());
    let mut sent = Vec::new();
    // Ten times what fits, within one duplicate window.
    for n in 0..160 {
        let next_one = large();
        stage.publish(next_one.clone()).await;
        assert_eq!(next(&mut deliveries).await.message, next_one);
        sent.push(next_one);
        if n % 8 == 7 {
            until_done(&stage).await;
        }
    }
    assert_eq!((percent(&stage, "T_IN").await, counted(&db).await), (0, (0, 0)));
    let bodies = "SELECT COUNT(*) FROM bus_messages WHERE LENGTH(payload) > 0 OR headers <> '{}'";
    let keys = "SELECT COUNT(*) FROM bus_messages";
    assert_eq!((number(&db, bodies).await, number(&db, keys).await), (0, 160));
    // Each again, as a publisher does that received no answer: accepted, and delivered no second time.
    for again in &sent {
        stage.publish(again.clone()).await;
    }
    let marker = message("marker");
    stage.publish(marker.clone()).await;
    assert_eq!(next(&mut deliveries).await.message.id, marker.id);
    until_done(&stage).await;
    assert_eq!(number(&db, keys).await, 161);
    consumer.stop().await;
}

async fn what_is_outstanding_fills_a_stream_and_what_is_not_done_keeps_its_body(db: TestDb) {
    let (stage, db) = embedded(db, SMALL).await;
    let taken = fill(&stage).await;
    assert!((14..=16).contains(&taken.len()), "{} fit into 64 KiB", taken.len());
    assert!(percent(&stage, "T_IN").await >= 90);
    // Deliveries that end without an acknowledgement free nothing.
    let (seen, mut deliveries) = tokio::sync::mpsc::unbounded_channel();
    let failing = Consumer::start(&stage.bus, 4, &Shelf::new(), move |delivery| {
        let _ = seen.send(delivery);
        std::future::pending()
    });
    next(&mut deliveries).await;
    failing.vanish().await;
    assert_eq!(stage.bus.publish(large()).await, Err(PublishError::Full));
    let (counter, sum) = counted(&db).await;
    assert_eq!(counter, sum);
    drop((stage, db));
}

async fn two_processes_that_finish_the_same_message_free_it_once(db: TestDb) {
    // So long that no sign of life of the first takes its lease back.
    let needs = Needs { ack_wait_ms: 60_000, ..SMALL };
    let (stage, db) = embedded(db, needs).await;
    let other = stage.other_process().await;
    let sent = large();
    stage.publish(sent.clone()).await;
    // The first is slower than its lease and finishes after the second.
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let held = std::sync::Arc::clone(&gate);
    let (begun, mut first) = tokio::sync::mpsc::unbounded_channel();
    let slow = Consumer::start(&stage.bus, 1, &Shelf::new(), move |delivery| {
        let (gate, begun) = (std::sync::Arc::clone(&held), begun.clone());
        async move {
            let _ = begun.send(delivery);
            gate.acquire().await.unwrap().forget();
            wxpay_worker::bus::Verdict::Done
        }
    });
    assert_eq!(next(&mut first).await.message.payload, sent.payload);
    // Its lease passes on, as when its host slept.
    db.execute("test", "UPDATE bus_deliveries SET due_at_ms = 0", []).await.unwrap();
    let (fast, mut second) = Consumer::recording(&other, 1, &Shelf::new());
    assert_eq!(next(&mut second).await.message.payload, sent.payload, "the body is there until it is done");
    until_done(&stage).await;
    gate.add_permits(1);
    slow.stop().await;
    fast.stop().await;
    assert_eq!(counted(&db).await, (0, 0));
}

/// As the version before left it: acknowledged, with its body, and counted until it is pruned.
async fn what_the_version_before_acknowledged_is_pruned_with_its_size(db: TestDb) {
    let (stage, db) = embedded(db, SMALL).await;
    for _ in 0..4 {
        stage.publish(large()).await;
    }
    db.execute("test", "DELETE FROM bus_deliveries", []).await.unwrap();
    assert!(counted(&db).await.0 > 16_000);
    db.execute("test", "UPDATE bus_messages SET published_at_ms = 0", []).await.unwrap();
    // Another process prunes when it starts.
    within_timeout("the pruning", async {
        while number(&db, "SELECT COUNT(*) FROM bus_messages").await > 0 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stage.other_process().await;
        }
    })
    .await;
    assert_eq!(counted(&db).await, (0, 0));
}

macro_rules! on_embedded {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::TestDb::sqlite()).await })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::TestDb::postgres().await).await })*
        }
    };
}

on_embedded! {
    work_that_is_done_takes_no_room_and_its_key_stays
    what_is_outstanding_fills_a_stream_and_what_is_not_done_keeps_its_body
    two_processes_that_finish_the_same_message_free_it_once
    what_the_version_before_acknowledged_is_pruned_with_its_size
}

async fn a_consumer_with_little_work_holds_nothing_of_the_others(version: Version) {
    let needs = Needs { duplicate_window_ms: 300, ..SMALL };
    let stage = TestBus::open(Backend::Nats(NatsServer::start(version)), needs).await;
    let nats = jetstream::new(async_nats::connect(stage.nats().url()).await.unwrap());
    let mut stream = nats.get_stream("T_IN").await.unwrap();
    // One message comes for it, before all others, and is never acknowledged.
    let rare = jetstream::consumer::pull::Config {
        durable_name: Some("rare".into()),
        filter_subject: "t.in.*.other.*".into(),
        ..Default::default()
    };
    let rare = stream.create_consumer(rare).await.unwrap();
    let waiting = Message::new("t.in.main.other.wanted", "waits");
    stage.publish(waiting).await;
    let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 4, &Shelf::new());
    let before = fill(&stage).await;
    assert!(percent(&stage, "T_IN").await >= 90);
    until_done(&stage).await;
    for _ in &before {
        next(&mut deliveries).await;
    }
    consumer.stop().await;
    // Past the duplicate window, and once space may be sought again.
    let new = within_timeout("room", async {
        loop {
            let new = large();
            match stage.bus.publish(new.clone()).await {
                Ok(()) => return new,
                Err(e) => assert!(matches!(e, PublishError::Full | PublishError::Timeout), "{e}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let stored = stream.info().await.unwrap().state.clone();
    assert_eq!((stored.messages, stored.first_sequence), (2, 1), "what waits, and the new one");
    // Both are delivered.
    let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 4, &Shelf::new());
    assert_eq!(next(&mut deliveries).await.message.id, new.id);
    consumer.stop().await;
    let mut left = rare.fetch().max_messages(1).messages().await.unwrap();
    let left = futures_util::StreamExt::next(&mut left).await.unwrap().unwrap();
    assert_eq!(left.payload.as_ref(), b"waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_with_little_work_holds_nothing_of_the_others_on_nats() {
    a_consumer_with_little_work_holds_nothing_of_the_others(Version::New).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_with_little_work_holds_nothing_of_the_others_on_an_old_nats() {
    a_consumer_with_little_work_holds_nothing_of_the_others(Version::Old).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_events_that_is_full_on_nats_is_said_to_drop() {
    let stage = TestBus::open(Backend::nats().await, SMALL).await;
    for _ in 0..40 {
        stage.publish(Message::new(EVENT_SUBJECT, vec![b'x'; 4000])).await;
    }
    assert!(percent(&stage, "T_EVENTS").await >= 90);
    assert_eq!(percent(&stage, "T_IN").await, 0);
}

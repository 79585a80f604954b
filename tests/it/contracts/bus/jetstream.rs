//! What the bus does on NATS alone: guarantees it asks of servers, wiped stores, messages of strangers.

use std::time::Duration;

use async_nats::jetstream;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use wxpay_worker::bus::{Bus, ConnectError, Message, PublishError, Sync, Verdict};

use crate::harness::bus::{
    Backend, Consumer, EVENT_SUBJECT, NEEDS, Needs, SUBJECT, Shelf, TestBus, message, next, publish_all, settings,
    text, topology,
};
use crate::harness::nats::{NatsServer, Version};
use crate::harness::within_timeout;

async fn context(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

async fn refusal(backend: &Backend, change: impl Fn(&mut wxpay_worker::config::Bus)) -> ConnectError {
    let mut settings = settings(backend, NEEDS);
    change(&mut settings);
    match Bus::connect_with(&settings, None, topology(NEEDS)).await {
        Ok(_) => panic!("it was accepted"),
        Err(e) => e,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_server_is_set_up_again_without_a_restart() {
    let mut stage = TestBus::open(Backend::nats().await, NEEDS).await;
    let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 4, &Shelf::new());
    stage.publish(message("before")).await;
    assert_eq!(text(&next(&mut deliveries).await), "before");
    let Backend::Nats(server) = &mut stage.backend else { unreachable!() };
    server.kill();
    server.wipe();
    server.start_again();
    let late = message("after");
    within_timeout("a publish", async { while stage.bus.publish(late.clone()).await.is_err() {} }).await;
    assert_eq!(text(&next(&mut deliveries).await), "after");
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_a_publish_fails_in_time() {
    let mut stage = TestBus::open(Backend::nats().await, NEEDS).await;
    let Backend::Nats(server) = &mut stage.backend else { unreachable!() };
    server.kill();
    let asked = std::time::Instant::now();
    stage.bus.publish(message("lost?")).await.unwrap_err();
    // The client by itself would wait for ten seconds.
    assert!(asked.elapsed() < Duration::from_secs(9), "took {:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_syncs_lazily_is_refused() {
    let backend = Backend::Nats(NatsServer::start_with(Version::New, "\"2m\""));
    let error = refusal(&backend, |_| {}).await.to_string();
    assert!(error.contains("every 120 s") && error.contains("sync_interval: always"), "{error}");
    // Configured so, it starts, and says what that means.
    let mut lazily = settings(&backend, NEEDS);
    lazily.require_fsync = false;
    let (_, report) = Bus::connect_with(&lazily, None, topology(NEEDS)).await.unwrap();
    assert_eq!(report.sync, Sync::Every(Duration::from_secs(120)));
    assert_eq!(report.warnings.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_be_asked_whether_it_syncs_is_refused() {
    let backend = Backend::nats().await;
    let silent = refusal(&backend, |s| s.monitoring_urls.clear()).await.to_string();
    assert!(silent.contains("bus.monitoring_urls"), "{silent}");
    let other = NatsServer::start(Version::New);
    let stranger = refusal(&backend, |s| s.monitoring_urls = vec![other.monitoring_url()]).await.to_string();
    assert!(stranger.contains("other NATS servers than that of bus.url"), "{stranger}");
    let dead = refusal(&backend, |s| s.monitoring_urls = vec!["http://127.0.0.1:1".into()]).await.to_string();
    assert!(dead.contains("http://127.0.0.1:1"), "{dead}");
    let few = refusal(&backend, |s| s.replicas = 3).await.to_string();
    assert!(few.contains("1 of 3"), "{few}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_names_version_and_sync() {
    let stage = TestBus::open(Backend::nats_old().await, NEEDS).await;
    assert!(stage.report.version.as_deref().unwrap().starts_with("2.10."));
    assert_eq!((stage.report.sync, stage.report.replicas), (Sync::Always, 1));
    assert!(stage.report.warnings.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_message_is_parked_as_alien() {
    let stage = TestBus::open(Backend::nats().await, NEEDS).await;
    let shelf = Shelf::new();
    let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 4, &shelf);
    context(stage.nats()).await.publish(SUBJECT, "who am I".into()).await.unwrap().await.unwrap();
    let parked = shelf.parked(1).await.remove(0);
    assert_eq!((parked.reason, parked.message.payload.as_slice()), ("alien", b"who am I".as_slice()));
    stage.until_lag("the acknowledgement", |lag| lag.pending + lag.in_flight == 0).await;
    consumer.stop().await;
    assert!(deliveries.try_recv().is_err(), "a handler saw it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_gives_up_on_is_parked_too() {
    let stage = TestBus::open(Backend::nats().await, NEEDS).await;
    let stream = context(stage.nats()).await.get_stream("T_IN").await.unwrap();
    let mut limited = stream.consumer_info("worker").await.unwrap().config;
    limited.max_deliver = 2;
    stream
        .update_consumer(jetstream::consumer::pull::Config {
            durable_name: Some("worker".into()),
            max_deliver: 2,
            ack_wait: limited.ack_wait,
            max_ack_pending: limited.max_ack_pending,
            filter_subject: limited.filter_subject,
            ..Default::default()
        })
        .await
        .unwrap();
    let shelf = Shelf::new();
    let consumer = Consumer::start(&stage.bus, 4, &shelf, |_| async {
        Verdict::Retry { after: Duration::from_millis(50), why: "never".into() }
    });
    let sent = message("given up");
    stage.publish(sent.clone()).await;
    let parked = shelf.parked(1).await.remove(0);
    assert_eq!((parked.message.id, parked.attempts), (sent.id, 2));
    assert!(parked.last_error.contains("gave up after 2"), "{}", parked.last_error);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_gave_up_on_while_no_worker_ran_is_parked_at_the_next_start() {
    let stage = TestBus::open(Backend::nats().await, NEEDS).await;
    let context = context(stage.nats()).await;
    let shelf = Shelf::new();
    // A worker that ran once.
    let (consumer, _deliveries) = Consumer::recording(&stage.bus, 4, &shelf);
    let kept = within_timeout("the stream of advisories", async {
        loop {
            if let Ok(kept) = context.get_stream("T_IN_GIVEN_UP").await {
                return kept;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    consumer.stop().await;
    let stream = context.get_stream("T_IN").await.unwrap();
    let config = stream.consumer_info("worker").await.unwrap().config;
    let limited = jetstream::consumer::pull::Config {
        durable_name: Some("worker".into()),
        max_deliver: 2,
        ack_wait: config.ack_wait,
        max_ack_pending: config.max_ack_pending,
        filter_subject: config.filter_subject,
        ..Default::default()
    };
    let stranger = stream.update_consumer(limited).await.unwrap();
    let sent = message("given up");
    stage.publish(sent.clone()).await;
    // Pulls of a client that settles nothing; the third one gets nothing and ends the message.
    for (delivered, waits) in [(1, 30_000), (1, 30_000), (0, 500)] {
        let messages = stranger.batch().max_messages(1).expires(Duration::from_millis(waits)).messages().await.unwrap();
        let messages: Vec<_> = messages.collect().await;
        assert_eq!(messages.len(), delivered);
        for message in messages {
            message.unwrap().ack_with(jetstream::AckKind::Nak(None)).await.unwrap();
        }
    }
    within_timeout("the advisory", async {
        while kept.get_info().await.unwrap().state.messages < 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 4, &shelf);
    let parked = shelf.parked(1).await.remove(0);
    assert_eq!((parked.message.id, parked.attempts, parked.reason), (sent.id, 2, "exhausted"));
    assert!(parked.last_error.contains("gave up after 2"), "{}", parked.last_error);
    within_timeout("the end of the advisory", async {
        while kept.get_info().await.unwrap().state.messages > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    consumer.stop().await;
    assert!(deliveries.try_recv().is_err(), "no consumer reads it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_waiting_messages_hold_a_quarter_of_the_places_others_are_deferred() {
    let stage = TestBus::open(Backend::nats().await, Needs { max_ack_pending: 16, ..NEEDS }).await;
    let shelf = Shelf::new();
    let (done, mut ends) = mpsc::unbounded_channel();
    let consumer = Consumer::start(&stage.bus, 1, &shelf, move |delivery| {
        let done = done.clone();
        async move {
            if text(&delivery) == "fresh" {
                let _ = done.send(());
                return Verdict::Done;
            }
            Verdict::Retry { after: Duration::from_secs(5), why: "soon".into() }
        }
    });
    publish_all(&stage.bus, (0..30).map(|n| message(n.to_string())).collect()).await;
    stage.publish(message("fresh")).await;
    within_timeout("the fresh one", ends.recv()).await.unwrap();
    // Four may wait in the bus at a time; the others went to the database at once.
    assert!(shelf.deferred(20).await.iter().all(|d| d.due_in == Duration::from_secs(5)));
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_topology_changes_streams_and_consumers_in_place() {
    let stage = TestBus::open(Backend::nats().await, NEEDS).await;
    stage.publish(message("kept")).await;
    let changed = Needs { ack_wait_ms: 2500, max_ack_pending: 99, max_bytes: 8 << 20, ..NEEDS };
    let other = Bus::connect_with(&settings(&stage.backend, changed), None, topology(changed)).await.unwrap().0;
    let mut stream = context(stage.nats()).await.get_stream("T_IN").await.unwrap();
    let info = stream.info().await.unwrap().clone();
    assert_eq!((info.config.max_bytes, info.state.messages), (8 << 20, 1));
    let consumer = stream.consumer_info("worker").await.unwrap();
    assert_eq!((consumer.config.max_ack_pending, consumer.config.ack_wait), (99, Duration::from_millis(2500)));
    let (consumer, mut deliveries) = Consumer::recording(&other, 1, &Shelf::new());
    assert_eq!(text(&next(&mut deliveries).await), "kept");
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_refused_when_full_is_changed_in_place_to_drop_its_oldest() {
    let stage = TestBus::open(Backend::nats().await, NEEDS).await;
    let kept = Message::new(EVENT_SUBJECT, "kept");
    stage.publish(kept).await;
    let nats = context(stage.nats()).await;
    let mut earlier = nats.get_stream("T_EVENTS").await.unwrap().cached_info().config.clone();
    earlier.discard = jetstream::stream::DiscardPolicy::New;
    nats.update_stream(&earlier).await.unwrap();
    let _upgraded = stage.other_process().await;
    let events = nats.get_stream("T_EVENTS").await.unwrap().cached_info().clone();
    assert_eq!((events.config.discard, events.state.messages), (jetstream::stream::DiscardPolicy::Old, 1));
    let work = nats.get_stream("T_IN").await.unwrap().cached_info().config.discard;
    assert_eq!(work, jetstream::stream::DiscardPolicy::New);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_cannot_be_changed_in_place_stops_the_start() {
    let backend = Backend::nats().await;
    let Backend::Nats(server) = &backend else { unreachable!() };
    let in_memory = jetstream::stream::Config {
        name: "T_IN".into(),
        subjects: vec!["t.in.>".into()],
        storage: jetstream::stream::StorageType::Memory,
        ..Default::default()
    };
    context(server).await.create_stream(in_memory).await.unwrap();
    let error = refusal(&backend, |_| {}).await.to_string();
    assert!(error.contains("T_IN") && error.contains("storage"), "{error}");
}

/// Soon full, and soon past the duplicate window.
const SMALL: Needs = Needs { max_bytes: 64 * 1024, duplicate_window_ms: 300, ..NEEDS };

/// Publishes until the stream is full, and tells how many it has.
async fn fill(stage: &TestBus) -> u64 {
    while publish_large(stage).await.is_ok() {}
    stored(stage).await
}

/// What a publish says, which a busy machine may have to repeat.
async fn publish_large(stage: &TestBus) -> Result<(), PublishError> {
    let large = Message::new(SUBJECT, vec![b'x'; 4000]);
    loop {
        let outcome = stage.bus.publish(large.clone()).await;
        if outcome != Err(PublishError::Timeout) {
            assert!(matches!(outcome, Ok(()) | Err(PublishError::Full)), "{outcome:?}");
            return outcome;
        }
    }
}

/// What a publish says once everything in the stream is past the duplicate window and space may be sought again.
async fn publish_when_all_is_old(stage: &TestBus) -> Result<(), PublishError> {
    tokio::time::sleep(Duration::from_millis(1200)).await;
    publish_large(stage).await
}

async fn stored(stage: &TestBus) -> u64 {
    context(stage.nats()).await.get_stream("T_IN").await.unwrap().cached_info().state.messages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_younger_than_the_duplicate_window_makes_no_room() {
    let stage = TestBus::open(Backend::nats().await, Needs { max_bytes: 64 * 1024, ..NEEDS }).await;
    let (consumer, _deliveries) = Consumer::recording(&stage.bus, 4, &Shelf::new());
    let taken = fill(&stage).await;
    stage.until_lag("the acknowledgements", |lag| lag.pending + lag.in_flight == 0).await;
    assert_eq!(publish_when_all_is_old(&stage).await, Err(PublishError::Full));
    assert_eq!(stored(&stage).await, taken);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_consumer_is_missing_no_room_is_made() {
    let stage = TestBus::open(Backend::nats().await, SMALL).await;
    let taken = fill(&stage).await;
    let stream = context(stage.nats()).await.get_stream("T_IN").await.unwrap();
    stream.delete_consumer("worker").await.unwrap();
    assert_eq!(publish_when_all_is_old(&stage).await, Err(PublishError::Full));
    assert_eq!(stored(&stage).await, taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_consumer_of_another_version_has_not_acknowledged_makes_no_room() {
    let stage = TestBus::open(Backend::nats().await, SMALL).await;
    let stream = context(stage.nats()).await.get_stream("T_IN").await.unwrap();
    // It may read what ours reads, and has acknowledged nothing.
    let idle = jetstream::consumer::pull::Config {
        durable_name: Some("idle".into()),
        filter_subject: "t.in.main.>".into(),
        ..Default::default()
    };
    stream.create_consumer(idle).await.unwrap();
    let (consumer, _deliveries) = Consumer::recording(&stage.bus, 4, &Shelf::new());
    let taken = fill(&stage).await;
    stage.until_lag("the acknowledgements", |lag| lag.pending + lag.in_flight == 0).await;
    assert_eq!(publish_when_all_is_old(&stage).await, Err(PublishError::Full));
    assert_eq!(stored(&stage).await, taken);
    // With it gone, the same messages make room.
    stream.delete_consumer("idle").await.unwrap();
    within_timeout("room", async {
        while publish_large(&stage).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(stored(&stage).await < taken);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_messages_make_room_for_new_ones() {
    let stage = TestBus::open(Backend::nats().await, SMALL).await;
    let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 4, &Shelf::new());
    // Three times what fits.
    for _ in 0..48 {
        let large = Message::new(SUBJECT, vec![b'x'; 4000]);
        within_timeout("room", async {
            while let Err(e) = stage.bus.publish(large.clone()).await {
                assert!(matches!(e, PublishError::Full | PublishError::Timeout), "{e}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        assert_eq!(next(&mut deliveries).await.message.id, large.id);
    }
    consumer.stop().await;
}

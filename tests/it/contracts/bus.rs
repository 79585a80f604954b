//! The bus contract: the same tests on both databases and on both generations of NATS.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use wxpay_worker::bus::{Message, PublishError, Verdict};

use crate::harness::bus::{
    Backend, Consumer, NEEDS, Needs, SUBJECT, Shelf, Stage, message, next, publish_all, text, worker,
};
use crate::harness::soon;

macro_rules! on_every_bus {
    ($($(#[$doc:meta])* $needs:expr => async fn $name:ident($stage:ident) $body:block)*) => {
        mod shared {
            use super::*;
            $($(#[$doc])* pub async fn $name(#[allow(unused_mut)] mut $stage: Stage) $body)*
            $(pub mod $name { use super::super::*; pub fn needs() -> Needs { $needs } })*
        }
        on_every_bus!(@backend embedded_on_sqlite, sqlite, $($name)*);
        on_every_bus!(@backend embedded_on_postgres, postgres, $($name)*);
        on_every_bus!(@backend jetstream, nats, $($name)*);
        on_every_bus!(@backend jetstream_without_batches, nats_old, $($name)*);
    };
    (@backend $module:ident, $backend:ident, $($name:ident)*) => {
        mod $module {
            use super::{Backend, Stage, shared};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                shared::$name(Stage::open(Backend::$backend().await, shared::$name::needs()).await).await;
            })*
        }
    };
}

fn retry(after: Duration, why: impl Into<String>) -> Verdict {
    Verdict::Retry { after, why: why.into() }
}

on_every_bus! {
    NEEDS => async fn what_was_acknowledged_survives_a_crash(stage) {
        publish_all(&stage.bus, (0..50).map(|n| message(n.to_string())).collect()).await;
        stage.crash().await;
        let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 8, &Shelf::new());
        let mut seen = HashSet::new();
        while seen.len() < 50 {
            seen.insert(text(&next(&mut deliveries).await));
        }
        assert_eq!(seen, (0..50).map(|n| n.to_string()).collect());
        consumer.stop().await;
    }

    NEEDS => async fn publishing_and_consuming_go_on_after_a_crash(stage) {
        let shelf = Shelf::new();
        let (before, mut deliveries) = Consumer::recording(&stage.bus, 4, &shelf);
        stage.bus.publish(message("before")).await.unwrap();
        assert_eq!(text(&next(&mut deliveries).await), "before");
        stage.crash().await;
        let late = message("after");
        soon("a publish", async {
            while stage.bus.publish(late.clone()).await.is_err() {}
        })
        .await;
        // On NATS the consumer that lived through it; with a database its process is gone, and another one takes over. What was
        // acknowledged just before the crash may come again.
        let mut seen = next(&mut deliveries).await;
        while text(&seen) == "before" {
            seen = next(&mut deliveries).await;
        }
        assert_eq!(text(&seen), "after");
        before.stop().await;
    }

    NEEDS => async fn a_delivery_whose_worker_vanished_comes_again(stage) {
        let shelf = Shelf::new();
        let (seen, mut taken) = mpsc::unbounded_channel();
        let doomed = Consumer::start(&stage.other_process().await, 1, &shelf, move |delivery| {
            let _ = seen.send(delivery);
            std::future::pending()
        });
        let sent = message("once more");
        stage.bus.publish(sent.clone()).await.unwrap();
        assert_eq!(next(&mut taken).await.attempt, 1);
        doomed.vanish().await;
        let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 1, &shelf);
        let again = next(&mut deliveries).await;
        assert_eq!((again.message.id, again.attempt), (sent.id, 2));
        consumer.stop().await;
    }

    NEEDS => async fn a_retry_is_not_delivered_before_its_delay(stage) {
        let delay = Duration::from_millis(900);
        let (seen, mut times) = mpsc::unbounded_channel();
        let consumer = Consumer::start(&stage.bus, 4, &Shelf::new(), move |delivery| {
            let _ = seen.send((Instant::now(), delivery.attempt));
            async move { if delivery.attempt == 1 { retry(delay, "not yet") } else { Verdict::Done } }
        });
        stage.bus.publish(message("later")).await.unwrap();
        let (first, _) = soon("a delivery", times.recv()).await.unwrap();
        let (second, attempt) = soon("a second delivery", times.recv()).await.unwrap();
        assert_eq!(attempt, 2);
        assert!(second - first >= delay, "came again after {:?}", second - first);
        consumer.stop().await;
    }

    Needs { max_attempts: 3, ..NEEDS } => async fn the_last_attempt_parks_with_the_first_and_the_last_error(stage) {
        let shelf = Shelf::new();
        let consumer = Consumer::start(&stage.bus, 4, &shelf, |delivery| async move {
            retry(Duration::from_millis(50), format!("error {}", delivery.attempt))
        });
        let sent = message("hopeless").with_header("traceparent", "00-1-2-01");
        stage.bus.publish(sent.clone()).await.unwrap();
        let parked = shelf.parked(1).await.remove(0);
        assert_eq!((parked.message.id, &parked.message.payload), (sent.id, &sent.payload));
        assert_eq!(parked.message.header("traceparent"), Some("00-1-2-01"));
        assert_eq!((parked.attempts, parked.reason, parked.consumer), (3, "exhausted", worker()));
        assert_eq!((parked.first_error.as_str(), parked.last_error.as_str()), ("error 1", "error 3"));
        stage.until_lag("the acknowledgement", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
    }

    NEEDS => async fn a_handler_that_parks_gives_its_reason(stage) {
        let shelf = Shelf::that_fails(2);
        let consumer = Consumer::start(&stage.bus, 4, &shelf, |_| async {
            Verdict::Park { reason: "amount_differs", why: "99 fen,\nnot 100".into() }
        });
        stage.bus.publish(message("odd")).await.unwrap();
        // Refused twice by a database that was away, and yet not lost.
        let parked = shelf.parked(1).await.remove(0);
        assert_eq!((parked.reason, parked.attempts), ("amount_differs", 1));
        assert_eq!(parked.last_error, "99 fen, not 100");
        stage.until_lag("the acknowledgement", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
        assert_eq!(shelf.parked_now(), 1);
    }

    NEEDS => async fn never_more_handlers_run_than_allowed(stage) {
        let gate = Arc::new(Semaphore::new(0));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (started, mut starts) = mpsc::unbounded_channel();
        let (done, mut ends) = mpsc::unbounded_channel();
        let (g, r, m) = (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&most));
        publish_all(&stage.bus, (0..60).map(|n| message(n.to_string())).collect()).await;
        let consumer = Consumer::start(&stage.bus, 4, &Shelf::new(), move |_| {
            let (gate, running, most) = (Arc::clone(&g), Arc::clone(&r), Arc::clone(&m));
            let (started, done) = (started.clone(), done.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let _ = started.send(());
                gate.acquire().await.unwrap().forget();
                running.fetch_sub(1, Ordering::SeqCst);
                let _ = done.send(());
                Verdict::Done
            }
        });
        for _ in 0..4 {
            soon("four handlers", starts.recv()).await.unwrap();
        }
        // The workers are busy; a fifth start would be the fault.
        assert!(tokio::time::timeout(Duration::from_millis(400), starts.recv()).await.is_err());
        gate.add_permits(60);
        for _ in 0..60 {
            soon("all messages", ends.recv()).await.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 4);
        consumer.stop().await;
    }

    Needs { max_attempts: 2, ..NEEDS } => async fn a_poison_message_does_not_stop_the_others(stage) {
        let shelf = Shelf::new();
        let (done, mut ends) = mpsc::unbounded_channel();
        let consumer = Consumer::start(&stage.bus, 4, &shelf, move |delivery| {
            let done = done.clone();
            async move {
                assert_ne!(text(&delivery), "poison", "this one kills its handler");
                let _ = done.send(text(&delivery));
                Verdict::Done
            }
        });
        let mut messages: Vec<Message> = (0..100).map(|n| message(n.to_string())).collect();
        messages.insert(0, message("poison"));
        publish_all(&stage.bus, messages).await;
        let mut seen = HashSet::new();
        while seen.len() < 100 {
            seen.insert(soon("the others", ends.recv()).await.unwrap());
        }
        let parked = shelf.parked(1).await.remove(0);
        assert_eq!(parked.message.payload, b"poison");
        // Two panics were two attempts, and what they said is not repeated.
        assert_eq!((parked.attempts, parked.last_error.as_str()), (2, "panic"));
        consumer.stop().await;
    }

    NEEDS => async fn a_thousand_messages_that_want_a_long_wait_do_not_stop_fresh_ones(stage) {
        let shelf = Shelf::new();
        let (done, mut ends) = mpsc::unbounded_channel();
        let consumer = Consumer::start(&stage.bus, 16, &shelf, move |delivery| {
            let done = done.clone();
            async move {
                if text(&delivery).starts_with("later") {
                    return retry(Duration::from_secs(3600), "the order is not there yet");
                }
                let _ = done.send(text(&delivery));
                Verdict::Done
            }
        });
        publish_all(&stage.bus, (0..1000).map(|n| message(format!("later {n}"))).collect()).await;
        publish_all(&stage.bus, (0..20).map(|n| message(format!("fresh {n}"))).collect()).await;
        for _ in 0..20 {
            soon("the fresh ones", ends.recv()).await.unwrap();
        }
        let deferred = shelf.deferred(1000).await;
        let distinct: HashSet<_> = deferred.iter().map(|d| d.message.id).collect();
        assert_eq!(distinct.len(), 1000);
        assert!(deferred.iter().all(|d| d.due_in == Duration::from_secs(3600) && d.attempts == 1));
        stage.until_lag("the acknowledgements", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
    }

    NEEDS => async fn a_deferred_message_counts_on_and_comes_once(stage) {
        let shelf = Shelf::new();
        let (seen, mut deliveries) = mpsc::unbounded_channel();
        let consumer = Consumer::start(&stage.bus, 4, &shelf, move |delivery| {
            let _ = seen.send(delivery.clone());
            async move {
                match delivery.attempt {
                    1 => retry(Duration::from_secs(60), "first error"),
                    2 => retry(Duration::from_secs(60), "second error"),
                    _ => Verdict::Done,
                }
            }
        });
        let sent = message("patient");
        stage.bus.publish(sent.clone()).await.unwrap();
        let first = shelf.deferred(1).await.remove(0);
        // The scheduler publishes what is due, and crashes before it noted so: again.
        stage.bus.publish(first.message.clone()).await.unwrap();
        stage.bus.publish(first.message).await.unwrap();
        let second = shelf.deferred(2).await.remove(1);
        assert_eq!((second.attempts, second.message.id), (2, sent.id));
        assert_eq!(second.message.header("Wxpay-First-Error"), Some("first error"));
        stage.bus.publish(second.message).await.unwrap();
        stage.bus.publish(message("marker")).await.unwrap();
        let mut attempts = Vec::new();
        while attempts.len() < 4 {
            let delivery = next(&mut deliveries).await;
            if delivery.message.id == sent.id {
                attempts.push(delivery.attempt);
            } else {
                attempts.push(0);
            }
        }
        attempts.sort_unstable();
        // The marker is deferred too, at its own first attempt; the patient one came exactly three times.
        assert_eq!(attempts, [0, 1, 2, 3]);
        consumer.stop().await;
    }

    NEEDS => async fn the_same_message_is_accepted_once(stage) {
        let twice = message("twice");
        publish_all(&stage.bus, vec![twice.clone(); 20]).await;
        stage.bus.publish(twice.clone()).await.unwrap();
        let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 1, &Shelf::new());
        assert_eq!(next(&mut deliveries).await.message.id, twice.id);
        // Also after it was worked on.
        stage.until_lag("the acknowledgement", |lag| lag.pending + lag.in_flight == 0).await;
        stage.bus.publish(twice.clone()).await.unwrap();
        let marker = message("marker");
        stage.bus.publish(marker.clone()).await.unwrap();
        assert_eq!(next(&mut deliveries).await.message.id, marker.id);
        // A replay is the same message on purpose.
        stage.bus.publish(twice.clone().replayed("7")).await.unwrap();
        let replayed = next(&mut deliveries).await;
        assert_eq!((replayed.message.id, replayed.attempt), (twice.id, 1));
        consumer.stop().await;
    }

    Needs { max_bytes: 64 * 1024, ..NEEDS } => async fn a_full_stream_refuses_and_keeps_what_it_has(stage) {
        let mut accepted = HashSet::new();
        let refusal = soon("a refusal", async {
            loop {
                let large = Message::new(SUBJECT, vec![b'x'; 4000]);
                match stage.bus.publish(large.clone()).await {
                    Ok(()) => assert!(accepted.insert(large.id)),
                    Err(e) => break e,
                }
            }
        })
        .await;
        assert_eq!(refusal, PublishError::Full);
        assert!((10..=16).contains(&accepted.len()), "{} fit into 64 KiB", accepted.len());
        let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 4, &Shelf::new());
        let mut seen = HashSet::new();
        while seen.len() < accepted.len() {
            seen.insert(next(&mut deliveries).await.message.id);
        }
        assert_eq!(seen, accepted);
        consumer.stop().await;
    }

    NEEDS => async fn what_cannot_be_published_is_told_apart(stage) {
        let large = Message::new(SUBJECT, vec![b'x'; 70_000]);
        assert_eq!(stage.bus.publish(large).await, Err(PublishError::TooLarge));
        for wrong in ["t.out.main.work.wanted", "t.in.main.*.wanted", "t.in.>", "t.in.a b", "t.in..x", ""] {
            let refusal = stage.bus.publish(Message::new(wrong, "x")).await;
            assert_eq!(refusal, Err(PublishError::Misdirected(wrong.into())));
        }
    }

    NEEDS => async fn publishes_of_one_subject_keep_their_order(stage) {
        publish_all(&stage.bus, (0..700).map(|n| message(n.to_string())).collect()).await;
        let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 1, &Shelf::new());
        for n in 0..700 {
            assert_eq!(text(&next(&mut deliveries).await), n.to_string());
        }
        consumer.stop().await;
    }

    NEEDS => async fn cancelling_waits_for_running_handlers_and_takes_nothing_new(stage) {
        let shelf = Shelf::new();
        let gate = Arc::new(Semaphore::new(0));
        let (seen, mut deliveries) = mpsc::unbounded_channel();
        let held = Arc::clone(&gate);
        let mut consumer = Consumer::start(&stage.bus, 2, &shelf, move |delivery| {
            let (gate, seen) = (Arc::clone(&held), seen.clone());
            async move {
                let _ = seen.send(delivery);
                gate.acquire().await.unwrap().forget();
                Verdict::Done
            }
        });
        stage.bus.publish(message("running")).await.unwrap();
        next(&mut deliveries).await;
        consumer.cancel.cancel();
        stage.bus.publish(message("too late")).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut consumer.task).await.is_err());
        gate.add_permits(1);
        soon("the end", consumer.task).await.unwrap();
        assert!(deliveries.try_recv().is_err(), "a new delivery after the cancel");
        let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 2, &shelf);
        // The running one was acknowledged; the other one is all that is left.
        assert_eq!(text(&next(&mut deliveries).await), "too late");
        stage.until_lag("the acknowledgement", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
    }

    Needs { ack_wait_ms: 900, ..NEEDS } => async fn a_slow_handler_keeps_its_delivery(stage) {
        let (seen, mut deliveries) = mpsc::unbounded_channel();
        let consumer = Consumer::start(&stage.bus, 2, &Shelf::new(), move |delivery| {
            let seen = seen.clone();
            async move {
                // Three times the wait after which a silent worker counts as gone.
                tokio::time::sleep(Duration::from_millis(2700)).await;
                let _ = seen.send(delivery);
                Verdict::Done
            }
        });
        stage.bus.publish(message("slow")).await.unwrap();
        assert_eq!(next(&mut deliveries).await.attempt, 1);
        stage.until_lag("the acknowledgement", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
        assert!(deliveries.try_recv().is_err(), "delivered twice");
    }

    Needs { max_attempts: 2, ack_wait_ms: 400, ..NEEDS } => async fn a_message_that_kills_its_workers_is_parked_unseen(stage) {
        let shelf = Shelf::new();
        stage.bus.publish(message("killer")).await.unwrap();
        for _ in 0..2 {
            let (seen, mut taken) = mpsc::unbounded_channel();
            let doomed = Consumer::start(&stage.other_process().await, 1, &shelf, move |delivery| {
                let _ = seen.send(delivery);
                std::future::pending()
            });
            next(&mut taken).await;
            doomed.vanish().await;
        }
        let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 1, &shelf);
        let parked = shelf.parked(1).await.remove(0);
        assert_eq!((parked.message.payload.as_slice(), parked.reason), (b"killer".as_slice(), "exhausted"));
        assert!(parked.last_error.contains("without a verdict"), "{}", parked.last_error);
        consumer.stop().await;
        assert!(deliveries.try_recv().is_err(), "the handler saw it a third time");
    }

    NEEDS => async fn two_processes_share_the_work(stage) {
        let (shelf, other) = (Shelf::new(), stage.other_process().await);
        let (here, mut first) = Consumer::recording(&stage.bus, 2, &shelf);
        let (there, mut second) = Consumer::recording(&other, 2, &shelf);
        publish_all(&stage.bus, (0..400).map(|n| message(n.to_string())).collect()).await;
        stage.until_lag("the work", |lag| lag.pending + lag.in_flight == 0).await;
        here.stop().await;
        there.stop().await;
        let mut seen = Vec::new();
        while let Ok(delivery) = first.try_recv() {
            seen.push(text(&delivery));
        }
        let share = seen.len();
        while let Ok(delivery) = second.try_recv() {
            seen.push(text(&delivery));
        }
        assert_eq!(seen.len(), 400, "each message once");
        assert_eq!(seen.into_iter().collect::<HashSet<_>>().len(), 400);
        assert!((1..400).contains(&share), "one process took everything");
    }

    NEEDS => async fn the_lag_counts_what_waits_and_what_is_under_way(stage) {
        let empty = stage.lag().await;
        assert_eq!((empty.pending, empty.in_flight, empty.oldest_age), (0, 0, None));
        publish_all(&stage.bus, (0..5).map(|n| message(n.to_string())).collect()).await;
        let waiting = stage.lag().await;
        assert_eq!((waiting.pending, waiting.in_flight), (5, 0));
        let age = waiting.oldest_age.unwrap();
        let gate = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&gate);
        let consumer = Consumer::start(&stage.bus, 2, &Shelf::new(), move |_| {
            let gate = Arc::clone(&held);
            async move {
                gate.acquire().await.unwrap().forget();
                Verdict::Done
            }
        });
        stage.until_lag("two under way", |lag| lag.pending == 3 && lag.in_flight == 2).await;
        assert!(stage.lag().await.oldest_age.unwrap() >= age);
        gate.add_permits(5);
        stage.until_lag("the end", |lag| (lag.pending, lag.in_flight, lag.oldest_age) == (0, 0, None)).await;
        consumer.stop().await;
    }
}

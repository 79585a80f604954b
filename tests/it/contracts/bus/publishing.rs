//! The bus contract, first half: what is published is kept, once, in order, within limits. On both databases and on
//! both generations of NATS.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use wxpay_worker::bus::{Bus, Message, PublishError, Verdict};

use crate::harness::bus::{
    Backend, Consumer, EVENT_SUBJECT, NEEDS, Needs, SUBJECT, Shelf, TestBus, message, next, publish_all, reader, text,
};
use crate::harness::within_timeout;

fn retry(after: Duration, why: impl Into<String>) -> Verdict {
    Verdict::Retry { after, why: why.into() }
}

fn body(message: &Message) -> String {
    String::from_utf8(message.payload.clone()).unwrap()
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

    NEEDS => async fn of_messages_stored_together_each_comes_once_with_its_own_body(stage) {
        let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 16, &Shelf::new());
        let known = message("known");
        stage.publish(known.clone()).await;
        let mut came = vec![(next(&mut deliveries).await.message.id, "known".to_owned())];
        let twice = message("twice");
        let mut sent: Vec<Message> = (0..10).map(|n| message(n.to_string())).collect();
        let mut expected: Vec<_> = [&known, &twice].into_iter().chain(&sent).map(|m| (m.id, body(m))).collect();
        // What is left out shifts the numbers of those behind it.
        sent.insert(2, twice.clone());
        sent.insert(4, known);
        sent.insert(6, twice);
        publish_all(&stage.bus, sent).await;
        while came.len() < expected.len() {
            let delivery = next(&mut deliveries).await;
            came.push((delivery.message.id, text(&delivery)));
        }
        came.sort_unstable();
        expected.sort_unstable();
        assert_eq!(came, expected);
        consumer.stop().await;
    }

    NEEDS => async fn publishing_and_consuming_go_on_after_a_crash(stage) {
        let shelf = Shelf::new();
        let (before, mut deliveries) = Consumer::recording(&stage.bus, 4, &shelf);
        stage.publish(message("before")).await;
        assert_eq!(text(&next(&mut deliveries).await), "before");
        stage.crash().await;
        let late = message("after");
        within_timeout("a publish", async {
            while stage.bus.publish(late.clone()).await.is_err() {}
        })
        .await;
        // On NATS the consumer that lived through it; with a database its process is gone, and another one takes over.
        // What was acknowledged just before the crash may come again.
        let mut seen = next(&mut deliveries).await;
        while text(&seen) == "before" {
            seen = next(&mut deliveries).await;
        }
        assert_eq!(text(&seen), "after");
        before.stop().await;
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
        let sent = message("deferred");
        stage.publish(sent.clone()).await;
        let first = shelf.deferred(1).await.remove(0);
        // The scheduler publishes what is due, and crashes before it noted so: again.
        stage.publish(first.message.clone()).await;
        stage.publish(first.message).await;
        let second = shelf.deferred(2).await.remove(1);
        assert_eq!((second.attempts, second.message.id), (2, sent.id));
        assert_eq!(second.message.header("Wxpay-First-Error"), Some("first error"));
        stage.publish(second.message).await;
        stage.publish(message("marker")).await;
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
        // The marker is deferred too, at its own first attempt; the deferred one came exactly three times.
        assert_eq!(attempts, [0, 1, 2, 3]);
        consumer.stop().await;
    }

    NEEDS => async fn the_same_message_is_accepted_once(stage) {
        let twice = message("twice");
        publish_all(&stage.bus, vec![twice.clone(); 20]).await;
        stage.publish(twice.clone()).await;
        let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 1, &Shelf::new());
        assert_eq!(next(&mut deliveries).await.message.id, twice.id);
        // Also after it was worked on.
        stage.until_lag("the acknowledgement", |lag| lag.pending + lag.in_flight == 0).await;
        stage.publish(twice.clone()).await;
        let marker = message("marker");
        stage.publish(marker.clone()).await;
        assert_eq!(next(&mut deliveries).await.message.id, marker.id);
        // A replay is the same message on purpose.
        stage.publish(twice.clone().replayed("7")).await;
        let replayed = next(&mut deliveries).await;
        assert_eq!((replayed.message.id, replayed.attempt), (twice.id, 1));
        consumer.stop().await;
    }

    Needs { max_bytes: 64 * 1024, ..NEEDS } => async fn a_full_stream_refuses_and_keeps_what_it_has(stage) {
        let mut accepted = HashSet::new();
        let refusal = within_timeout("a refusal", async {
            let mut large = Message::new(SUBJECT, vec![b'x'; 4000]);
            loop {
                match stage.bus.publish(large.clone()).await {
                    Ok(()) => assert!(accepted.insert(large.id)),
                    // A busy machine: the same message again.
                    Err(PublishError::Timeout) => continue,
                    Err(e) => break e,
                }
                large = Message::new(SUBJECT, vec![b'x'; 4000]);
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

    Needs { max_bytes: 64 * 1024, ..NEEDS } =>
    async fn a_full_stream_of_events_drops_its_oldest_and_keeps_the_newest(stage) {
        // One after the other and then together: several times what fits, and all of it is accepted.
        let sent: Vec<Message> = (0..60).map(|_| Message::new(EVENT_SUBJECT, vec![b'x'; 4000])).collect();
        for event in &sent[..20] {
            stage.publish(event.clone()).await;
        }
        publish_all(&stage.bus, sent[20..].to_vec()).await;
        let (seen, mut deliveries) = mpsc::unbounded_channel();
        let consumer = Consumer::of(reader(), &stage.bus, 1, &Shelf::new(), move |delivery| {
            let _ = seen.send(delivery);
            async { Verdict::Done }
        });
        let newest = sent.last().unwrap().id;
        let mut kept = Vec::new();
        while kept.last() != Some(&newest) {
            kept.push(next(&mut deliveries).await.message.id);
        }
        assert!((10..=16).contains(&kept.len()), "{} kept in 64 KiB", kept.len());
        let newest_sent: Vec<_> = sent[60 - kept.len()..].iter().map(|event| event.id).collect();
        assert_eq!(kept, newest_sent, "the newest, without a gap");
        consumer.stop().await;
    }

    NEEDS => async fn what_cannot_be_published_is_distinguished(stage) {
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

    NEEDS => async fn two_processes_share_the_work(stage) {
        let (shelf, other) = (Shelf::new(), stage.other_process().await);
        // Neither ends a delivery before both have one.
        let begun = Arc::new(watch::Sender::new([false; 2]));
        let sharing = |bus: &Bus, n: usize| {
            let (seen, deliveries) = mpsc::unbounded_channel();
            let begun = Arc::clone(&begun);
            let consumer = Consumer::start(bus, 2, &shelf, move |delivery| {
                begun.send_modify(|begun| begun[n] = true);
                let mut both = begun.subscribe();
                let _ = seen.send(delivery);
                async move {
                    let _ = both.wait_for(|begun| begun[0] && begun[1]).await;
                    Verdict::Done
                }
            });
            (consumer, deliveries)
        };
        let (here, mut first) = sharing(&stage.bus, 0);
        let (there, mut second) = sharing(&other, 1);
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

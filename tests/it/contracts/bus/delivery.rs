//! The bus contract, second half: how a delivery ends. On both databases and on both generations of NATS.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use wxpay_worker::bus::{Message, Verdict};

use crate::harness::bus::{Backend, Consumer, NEEDS, Needs, Shelf, TestBus, message, next, publish_all, text, worker};
use crate::harness::within_timeout;

fn retry(after: Duration, why: impl Into<String>) -> Verdict {
    Verdict::Retry { after, why: why.into() }
}

on_every_bus! {
    Needs { ack_wait_ms: 6000, ..NEEDS } => async fn a_delivery_whose_worker_vanished_comes_again(stage) {
        let shelf = Shelf::new();
        let (seen, mut taken) = mpsc::unbounded_channel();
        let doomed = Consumer::start(&stage.other_process().await, 1, &shelf, move |delivery| {
            let _ = seen.send(delivery);
            std::future::pending()
        });
        let sent = message("once more");
        stage.publish(sent.clone()).await;
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
        stage.publish(message("later")).await;
        let (first, _) = within_timeout("a delivery", times.recv()).await.unwrap();
        let (second, attempt) = within_timeout("a second delivery", times.recv()).await.unwrap();
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
        stage.publish(sent.clone()).await;
        let parked = shelf.parked(1).await.remove(0);
        assert_eq!((parked.message.id, &parked.message.payload), (sent.id, &sent.payload));
        assert_eq!(parked.message.header("traceparent"), Some("00-1-2-01"));
        assert_eq!((parked.attempts, parked.reason, parked.consumer), (3, "exhausted", worker()));
        assert_eq!((parked.first_error.as_str(), parked.last_error.as_str()), ("error 1", "error 3"));
        stage.until_lag("the acknowledgement", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
    }

    Needs { max_attempts: 3, ..NEEDS } => async fn what_the_handler_needs_may_be_away_without_using_up_attempts(stage) {
        let shelf = Shelf::new();
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let attempts = Arc::clone(&seen);
        let consumer = Consumer::start(&stage.bus, 4, &shelf, move |delivery| {
            let mut attempts = attempts.lock().unwrap();
            attempts.push(delivery.attempt);
            let is_away = attempts.len() % 5 != 0;
            async move {
                match is_away {
                    true => Verdict::Unavailable { why: "away".into() },
                    false => retry(Duration::from_millis(50), "an error"),
                }
            }
        });
        stage.publish(message("an outage")).await;
        let parked = shelf.parked(1).await.remove(0);
        // Before each failed attempt there were four tries that did not count; the handler sees that it is not the
        // first.
        assert_eq!((parked.attempts, parked.reason), (3, "exhausted"));
        assert_eq!(*seen.lock().unwrap(), [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3]);
        consumer.stop().await;
        assert_eq!(shelf.parked_now(), 1);
    }

    // What its open requests bring comes again after the wait.
    Needs { ack_wait_ms: 6000, ..NEEDS } =>
    async fn a_process_that_is_cut_off_from_the_database_leaves_the_messages_to_others(stage) {
        let shelf = Shelf::new();
        shelf.is_there.store(false, Ordering::SeqCst);
        let (seen, mut met) = mpsc::unbounded_channel();
        let cut_off = Consumer::start(&stage.other_process().await, 4, &shelf, move |delivery| {
            let _ = seen.send(text(&delivery));
            async { Verdict::Unavailable { why: "away".into() } }
        });
        stage.publish(message("first")).await;
        assert_eq!(within_timeout("the first", met.recv()).await.unwrap(), "first");
        // What comes before the first one's verdict may be taken beside it.
        shelf.until_asked().await;
        let names: Vec<String> = (0..20).map(|n| format!("later {n}")).collect();
        for name in &names {
            stage.publish(message(name)).await;
        }
        let (healthy, mut deliveries) = Consumer::recording(&stage.bus, 4, &Shelf::new());
        let mut handled = HashSet::new();
        while handled.len() < 21 {
            handled.insert(text(&next(&mut deliveries).await));
        }
        assert!(handled.contains("first"), "given back");
        while let Ok(name) = met.try_recv() {
            assert_eq!(name, "first", "nothing more was taken");
        }
        cut_off.stop().await;
        healthy.stop().await;
    }

    NEEDS => async fn a_handler_that_parks_gives_its_reason(stage) {
        let shelf = Shelf::that_fails(2);
        let consumer = Consumer::start(&stage.bus, 4, &shelf, |_| async {
            Verdict::Park { reason: "amount_differs", why: "99 fen,\nnot 100".into() }
        });
        stage.publish(message("odd")).await;
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
            within_timeout("four handlers", starts.recv()).await.unwrap();
        }
        // The workers are busy; a fifth start would be the fault.
        assert!(tokio::time::timeout(Duration::from_millis(400), starts.recv()).await.is_err());
        gate.add_permits(60);
        for _ in 0..60 {
            within_timeout("all messages", ends.recv()).await.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 4);
        consumer.stop().await;
    }

    // A panic's backtrace can take longer to print than NEEDS waits for a sign of life.
    Needs { max_attempts: 2, ack_wait_ms: 60_000, ..NEEDS } => async fn a_poison_message_does_not_stop_others(stage) {
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
            seen.insert(within_timeout("the others", ends.recv()).await.unwrap());
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
            within_timeout("the fresh ones", ends.recv()).await.unwrap();
        }
        let deferred = shelf.deferred(1000).await;
        let distinct: HashSet<_> = deferred.iter().map(|d| d.message.id).collect();
        assert_eq!(distinct.len(), 1000);
        assert!(deferred.iter().all(|d| d.due_in == Duration::from_secs(3600) && d.attempts == 1));
        stage.until_lag("the acknowledgements", |lag| lag.pending + lag.in_flight == 0).await;
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
        stage.publish(message("running")).await;
        next(&mut deliveries).await;
        consumer.cancel.cancel();
        stage.publish(message("too late")).await;
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut consumer.task).await.is_err());
        gate.add_permits(1);
        within_timeout("the end", consumer.task).await.unwrap();
        assert!(deliveries.try_recv().is_err(), "a new delivery after the cancel");
        let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 2, &shelf);
        // The running one was acknowledged; the other one is all that is left.
        assert_eq!(text(&next(&mut deliveries).await), "too late");
        stage.until_lag("the acknowledgement", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
    }

    Needs { ack_wait_ms: 6000, ..NEEDS } => async fn a_slow_handler_keeps_its_delivery(stage) {
        let (seen, mut deliveries) = mpsc::unbounded_channel();
        let consumer = Consumer::start(&stage.bus, 2, &Shelf::new(), move |delivery| {
            let seen = seen.clone();
            async move {
                // Twice the wait after which a silent worker counts as gone: only time shows that it does not.
                tokio::time::sleep(Duration::from_millis(12_000)).await;
                let _ = seen.send(delivery);
                Verdict::Done
            }
        });
        stage.publish(message("slow")).await;
        assert_eq!(next(&mut deliveries).await.attempt, 1);
        stage.until_lag("the acknowledgement", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
        assert!(deliveries.try_recv().is_err(), "delivered twice");
    }

    Needs { max_attempts: 2, ack_wait_ms: 400, ..NEEDS } =>
    async fn a_message_that_kills_its_workers_is_parked_unseen(stage) {
        let shelf = Shelf::new();
        stage.publish(message("killer")).await;
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

    Needs { max_attempts: 2, ack_wait_ms: 400, max_handling_ms: 1000, ..NEEDS } =>
    async fn a_handler_that_hangs_is_stopped_and_counts_as_an_attempt(stage) {
        let shelf = Shelf::new();
        let (done, mut ends) = mpsc::unbounded_channel();
        // One worker: as long as it hangs, nothing else is worked on.
        let consumer = Consumer::start(&stage.bus, 1, &shelf, move |delivery| {
            let done = done.clone();
            async move {
                if text(&delivery) == "hangs" {
                    std::future::pending::<()>().await;
                }
                let _ = done.send(());
                Verdict::Done
            }
        });
        stage.publish(message("hangs")).await;
        stage.publish(message("waits behind it")).await;
        within_timeout("the other one", ends.recv()).await.unwrap();
        let parked = shelf.parked(1).await.remove(0);
        assert_eq!((parked.message.payload.as_slice(), parked.reason), (b"hangs".as_slice(), "exhausted"));
        assert_eq!((parked.attempts, parked.last_error.as_str()), (2, "stuck"));
        stage.until_lag("the acknowledgement", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
    }

    NEEDS => async fn what_the_database_refuses_is_handed_over_in_plain_texts(stage) {
        let shelf = Shelf::that_refuses(1);
        let consumer = Consumer::start(&stage.bus, 4, &shelf, |_| async {
            Verdict::Park { reason: "amount_differs", why: "99 分".into() }
        });
        let sent = message("odd 分").with_header("x-note", "备注");
        stage.publish(sent.clone()).await;
        let parked = shelf.parked(1).await.remove(0);
        assert_eq!((parked.message.id, &parked.message.payload), (sent.id, &sent.payload));
        assert_eq!((parked.last_error.as_str(), parked.first_error.as_str()), ("99 ?", "99 ?"));
        assert_eq!(parked.message.headers, []);
        stage.until_lag("the acknowledgement", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
    }

    NEEDS => async fn a_deferred_message_in_plain_texts_is_still_published_again(stage) {
        let shelf = Shelf::that_refuses(1);
        let (seen, mut deliveries) = mpsc::unbounded_channel();
        let consumer = Consumer::start(&stage.bus, 4, &shelf, move |delivery| {
            let _ = seen.send(delivery.clone());
            async move { if delivery.attempt == 1 { retry(Duration::from_secs(60), "等") } else { Verdict::Done } }
        });
        let sent = message("deferred").with_header("x-note", "备注");
        stage.publish(sent.clone()).await;
        let deferred = shelf.deferred(1).await.remove(0);
        assert_eq!((deferred.why.as_str(), deferred.message.header("x-note")), ("?", None));
        stage.publish(deferred.message).await;
        let attempts = [next(&mut deliveries).await, next(&mut deliveries).await].map(|d| (d.message.id, d.attempt));
        assert_eq!(attempts, [(sent.id, 1), (sent.id, 2)]);
        consumer.stop().await;
    }

    NEEDS => async fn what_the_database_refuses_for_good_takes_no_place_and_comes_again(stage) {
        let shelf = Shelf::that_refuses(2);
        let (seen, mut deliveries) = mpsc::unbounded_channel();
        let consumer = Consumer::start(&stage.bus, 1, &shelf, move |delivery| {
            let _ = seen.send(delivery.clone());
            async move {
                if text(&delivery) == "odd" {
                    Verdict::Park { reason: "odd", why: "odd".into() }
                } else {
                    Verdict::Done
                }
            }
        });
        stage.publish(message("odd")).await;
        assert_eq!(text(&next(&mut deliveries).await), "odd");
        stage.publish(message("other")).await;
        assert_eq!(text(&next(&mut deliveries).await), "other");
        assert_eq!(shelf.parked_now(), 0);
        // The database was mended meanwhile.
        let again = next(&mut deliveries).await;
        assert_eq!((text(&again).as_str(), again.attempt), ("odd", 2));
        assert_eq!(shelf.parked(1).await[0].attempts, 2);
        stage.until_lag("the acknowledgement", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
    }
}

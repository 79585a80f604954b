//! The bus contract: deliveries that come together and are handled in one call.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use wxpay_worker::bus::{Delivery, Together, Verdict};

use crate::harness::bus::{Backend, Consumer, NEEDS, Needs, Shelf, TestBus, message, publish, publish_all, text};
use crate::harness::within_timeout;

const DONE: Option<Verdict> = Some(Verdict::Done);

/// The texts of the deliveries of one call, and their attempts.
type Call = Vec<(String, u32)>;

fn together(of_one: impl Fn(&Delivery) -> Option<Verdict> + Send + Sync + 'static) -> Together {
    Arc::new(move |deliveries| {
        let verdicts = deliveries.iter().map(&of_one).collect();
        Box::pin(async move { verdicts })
    })
}

on_every_bus! {
    NEEDS => async fn what_came_together_is_handled_in_one_call_and_each_has_an_end_of_its_own(stage) {
        let shelf = Shelf::new();
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let seen = Arc::clone(&calls);
        publish_all(&stage.bus, (0..100).map(|n| message(n.to_string())).collect()).await;
        let of_many: Together = Arc::new(move |deliveries| {
            seen.lock().unwrap().push(deliveries.iter().map(|one| (text(one), one.attempt)).collect());
            let verdict = |one: &Delivery| match (text(one).as_str(), one.attempt) {
                ("7", _) => Verdict::Park { reason: "odd", why: "seven".into() },
                ("8", 1) => Verdict::Retry { after: Duration::from_millis(50), why: "not yet".into() },
                _ => Verdict::Done,
            };
            let verdicts = deliveries.iter().map(|one| Some(verdict(one))).collect();
            Box::pin(async move { verdicts })
        });
        let consumer = Consumer::together(&stage.bus, 64, &shelf, of_many, |delivery| async move {
            panic!("{} was handled alone", text(&delivery))
        });
        let parked = shelf.parked(1).await.remove(0);
        assert_eq!((parked.message.payload.as_slice(), parked.reason, parked.attempts), (&b"7"[..], "odd", 1));
        stage.until_lag("the ends", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
        let calls = calls.lock().unwrap();
        assert!(calls.len() < 100, "one call per delivery");
        let mut all: Vec<(String, u32)> = calls.iter().flatten().cloned().collect();
        all.sort_by_key(|(text, attempt)| (text.parse::<u32>().unwrap(), *attempt));
        let mut expected: Vec<(String, u32)> = (0..100).map(|n: u32| (n.to_string(), 1)).collect();
        expected.insert(9, ("8".into(), 2));
        assert_eq!(all, expected);
    }

    // A panic's backtrace can take longer to print than NEEDS waits for a sign of life.
    Needs { max_attempts: 2, ack_wait_ms: 60_000, ..NEEDS } => async fn a_group_that_panics_is_handled_singly(stage) {
        let shelf = Shelf::new();
        let (done, mut ends) = mpsc::unbounded_channel();
        let of_many = together(|one| {
            assert_ne!(text(one), "poison", "this one kills its group");
            DONE
        });
        let of_one = move |delivery: Delivery| {
            let done = done.clone();
            async move {
                assert_ne!(text(&delivery), "poison", "this one kills its handler");
                let _ = done.send(text(&delivery));
                Verdict::Done
            }
        };
        let mut messages: Vec<_> = (0..30).map(|n| message(n.to_string())).collect();
        messages.insert(10, message("poison"));
        publish_all(&stage.bus, messages).await;
        let consumer = Consumer::together(&stage.bus, 64, &shelf, of_many, of_one);
        let parked = shelf.parked(1).await.remove(0);
        assert_eq!((parked.message.payload.as_slice(), parked.attempts), (&b"poison"[..], 2));
        stage.until_lag("the others", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
        assert_eq!(shelf.parked_now(), 1);
        // Those of other groups than the poisoned one were done together.
        let mut alone = HashSet::new();
        while let Ok(text) = ends.try_recv() {
            assert!(alone.insert(text), "handled twice");
        }
    }

    NEEDS => async fn what_a_group_leaves_open_or_finds_the_database_away_for_is_handled_alone(stage) {
        let shelf = Shelf::new();
        let (done, mut ends) = mpsc::unbounded_channel();
        let of_many = together(|one| match text(one).as_str() {
            "open" => None,
            "away" => Some(Verdict::Unavailable { why: "away".into() }),
            _ => DONE,
        });
        publish_all(&stage.bus, ["plain", "open", "away"].map(message).into()).await;
        let consumer = Consumer::together(&stage.bus, 8, &shelf, of_many, move |delivery| {
            let _ = done.send((text(&delivery), delivery.attempt));
            async { Verdict::Done }
        });
        let mut alone = HashSet::new();
        while alone.len() < 2 {
            alone.insert(within_timeout("two handled alone", ends.recv()).await.unwrap());
        }
        // After an outage a part of the work may be done: the handler sees that it is not the first.
        assert_eq!(alone, HashSet::from([("open".to_owned(), 1), ("away".to_owned(), 2)]));
        stage.until_lag("the ends", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
        assert!(ends.try_recv().is_err());
    }

    NEEDS => async fn a_member_that_takes_long_keeps_no_place_but_its_own(stage) {
        let shelf = Shelf::new();
        let (others, mut ended) = mpsc::unbounded_channel();
        let of_many = together(move |one| {
            let is_slow = text(one) == "slow";
            if !is_slow {
                let _ = others.send(text(one));
            }
            (!is_slow).then_some(Verdict::Done)
        });
        let (let_go, gone) = tokio::sync::watch::channel(false);
        let of_one = move |_: Delivery| {
            let mut gone = gone.clone();
            async move {
                let _ = gone.wait_for(|gone| *gone).await;
                Verdict::Done
            }
        };
        publish_all(&stage.bus, ["slow", "1", "2", "3"].map(message).into()).await;
        let consumer = Consumer::together(&stage.bus, 4, &shelf, of_many, of_one);
        publish_all(&stage.bus, (4..20).map(|n| message(n.to_string())).collect()).await;
        let mut seen = HashSet::new();
        while seen.len() < 19 {
            seen.insert(within_timeout("the others, while one takes long", ended.recv()).await.unwrap());
        }
        let_go.send(true).unwrap();
        stage.until_lag("the ends", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
    }
}

/// On NATS: the embedded queue gives way within its database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_group_is_under_way_while_callers_wait_and_two_once_they_are_gone() {
    let needs = Needs { ack_wait_ms: 60_000, max_ack_pending: 1024, ..NEEDS };
    let stage = TestBus::open(Backend::nats().await, needs).await;
    publish_all(&stage.bus, (0..600).map(|n| message(n.to_string())).collect()).await;
    // A caller waits until its future is polled again, unless this thread was so slow that the answer was there first.
    let caller = loop {
        let mut caller = Box::pin(stage.bus.publish(message("of a caller")));
        if futures_util::poll!(&mut caller).is_pending() {
            break caller;
        }
    };

    let (under_way, mut at_once) = watch::channel(0_usize);
    let gate = Arc::new(Semaphore::new(0));
    let ends = Arc::clone(&gate);
    let of_many: Together = Arc::new(move |deliveries| {
        let (under_way, ends) = (under_way.clone(), Arc::clone(&ends));
        Box::pin(async move {
            under_way.send_modify(|all| *all += deliveries.len());
            ends.acquire().await.unwrap().forget();
            under_way.send_modify(|all| *all -= deliveries.len());
            deliveries.iter().map(|_| DONE).collect()
        })
    });
    let consumer = Consumer::together(&stage.bus, 256, &Shelf::new(), of_many, |delivery| async move {
        panic!("{} was handled alone", text(&delivery))
    });
    within_timeout("a group", at_once.wait_for(|all| *all > 0)).await.unwrap();
    // Time for another group, as another process that is a caller of its own has it.
    let beside = stage.other_process().await;
    for n in 0..100 {
        publish(&beside, message(format!("beside {n}"))).await;
    }
    assert!(*at_once.borrow_and_update() <= 128, "{} at once", *at_once.borrow());

    caller.await.unwrap();
    gate.add_permits(1);
    within_timeout("another group beside it", at_once.wait_for(|all| *all > 128)).await.unwrap();
    gate.add_permits(1000);
    stage.until_lag("the ends", |lag| lag.pending + lag.in_flight == 0).await;
    consumer.stop().await;
}

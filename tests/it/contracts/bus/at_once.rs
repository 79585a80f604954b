//! The embedded bus: messages for workers of the process that publishes them, and deliveries that end with their
//! effects.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use wxpay_worker::bus::Verdict;
use wxpay_worker::event::fact::{Fact, Prepay};
use wxpay_worker::store::Store;

use crate::contracts::store::orders::{NOW, change, merchant, new_order, order_no, payment};
use crate::harness::bus::{Backend, Consumer, NEEDS, Needs, Shelf, TestBus, message, next, text};
use crate::harness::sql::number;
use crate::harness::store::commit;
use crate::harness::within_timeout;

macro_rules! on_both_embedded {
    ($(async fn $name:ident($stage:ident, $needs:expr) $body:block)*) => {
        $(mod $name {
            use super::*;
            async fn run($stage: TestBus) $body
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() { run(TestBus::open(Backend::sqlite().await, $needs).await).await; }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() { run(TestBus::open(Backend::postgres().await, $needs).await).await; }
        })*
    };
}

async fn store_of(stage: &TestBus) -> Store {
    let Backend::Embedded(db) = &stage.backend else { panic!("not embedded") };
    Store::new(db.open().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_for_a_free_worker_of_this_process_is_leased_when_it_is_stored() {
    let stage = TestBus::open(Backend::sqlite().await, NEEDS).await;
    let store = store_of(&stage).await;
    let sql = "CREATE TABLE stored (leased INTEGER NOT NULL);
               CREATE TRIGGER seen AFTER INSERT ON bus_deliveries
                 BEGIN INSERT INTO stored (leased) VALUES (NEW.leased + NEW.deliveries); END";
    store.db().write("test", sql, |tx, sql| Box::pin(tx.execute_unprepared(sql))).await.unwrap();
    // Before anyone asks for work it waits.
    stage.publish(message("first")).await;
    let gate = Arc::new(Semaphore::new(0));
    let (seen, mut deliveries) = mpsc::unbounded_channel();
    let held = Arc::clone(&gate);
    let consumer = Consumer::start(&stage.bus, 2, &Shelf::new(), move |delivery| {
        let _ = seen.send(delivery);
        let gate = Arc::clone(&held);
        async move {
            gate.acquire().await.unwrap().forget();
            Verdict::Done
        }
    });
    assert_eq!(text(&next(&mut deliveries).await), "first");
    stage.publish(message("second")).await;
    let second = next(&mut deliveries).await;
    assert_eq!((text(&second).as_str(), second.attempt), ("second", 1));
    // Both workers are busy: this one waits.
    stage.publish(message("third")).await;
    assert_eq!(number(store.db(), "SELECT group_concat(leased, '') + 0 FROM stored").await, 20);
    gate.add_permits(3);
    assert_eq!(text(&next(&mut deliveries).await), "third");
    stage.until_lag("the ends", |lag| lag.pending + lag.in_flight == 0).await;
    consumer.stop().await;
}

on_both_embedded! {
    async fn what_was_handed_over_in_a_process_that_vanished_comes_again(
        stage, Needs { ack_wait_ms: 60_000, ..NEEDS }
    ) {
        let shelf = Shelf::new();
        let (seen, mut taken) = mpsc::unbounded_channel();
        let doomed = Consumer::start(&stage.bus, 4, &shelf, move |delivery| {
            let _ = seen.send(delivery);
            std::future::pending()
        });
        for text in ["a", "b", "c"] {
            stage.publish(message(text)).await;
            assert_eq!(next(&mut taken).await.attempt, 1);
        }
        doomed.vanish().await;
        // Their leases end.
        let store = store_of(&stage).await;
        store.db().execute("test", "UPDATE bus_deliveries SET due_at_ms = 0", []).await.unwrap();
        let (consumer, mut deliveries) = Consumer::recording(&stage.other_process().await, 4, &shelf);
        let mut again = Vec::new();
        for _ in 0..3 {
            let delivery = next(&mut deliveries).await;
            again.push((text(&delivery), delivery.attempt));
        }
        again.sort();
        assert_eq!(again, [("a".to_owned(), 2), ("b".to_owned(), 2), ("c".to_owned(), 2)]);
        stage.until_lag("the ends", |lag| lag.pending + lag.in_flight == 0).await;
        consumer.stop().await;
    }

    async fn a_delivery_ends_in_the_transaction_of_its_effects(stage, NEEDS) {
        let store = store_of(&stage).await;
        store.record_orders(&[new_order(1, 100), new_order(2, 100)]).await.unwrap();
        let read = async |n| store.order(&merchant(), &order_no(n)).await.unwrap().unwrap();
        let (one, two) = (read(1).await, read(2).await);
        let prepay = Prepay { prepay_id: "wx1".into(), code_url: None, mweb_url: None, issued_at: NOW };
        commit(&store, &[change(&two, 2, Fact::PrepayIssued(prepay))], NOW).await.unwrap();
        let paid = change(&one, 1, Fact::Paid(payment(1, 1)));
        let outdated = change(&two, 2, Fact::Paid(payment(2, 2)));
        let (seen, mut committed) = mpsc::unbounded_channel();
        let (commits, shelf) = (store.clone(), Shelf::new());
        let doomed = Consumer::start(&stage.bus, 4, &shelf, move |delivery| {
            let mut change = if text(&delivery) == "settles" { paid.clone() } else { outdated.clone() };
            let (store, seen) = (commits.clone(), seen.clone());
            async move {
                change.finished.push(delivery.ending.as_ref().unwrap().finished().clone());
                let lost = commit(&store, &[change], NOW).await.unwrap();
                let _ = seen.send(lost.len());
                // The process dies before it acknowledges anything.
                std::future::pending().await
            }
        });
        stage.publish(message("settles")).await;
        assert_eq!(within_timeout("the commit", committed.recv()).await, Some(0));
        let lag = stage.lag().await;
        assert_eq!((lag.pending, lag.in_flight), (0, 0), "acknowledged with the ledger's row");
        assert_eq!(number(store.db(), "SELECT COUNT(*) FROM ledger").await, 1);
        let fill = stage.bus.fill().await.unwrap();
        assert!(fill.iter().all(|stream| stream.bytes == 0), "its body counts no longer: {fill:?}");
        // A change that is not made ends nothing.
        stage.publish(message("comes too late")).await;
        assert_eq!(within_timeout("the refused commit", committed.recv()).await, Some(1));
        let lag = stage.lag().await;
        assert_eq!((lag.pending, lag.in_flight), (0, 1));
        doomed.vanish().await;
    }

    async fn what_was_handed_over_and_not_begun_goes_back_when_the_consumer_ends(stage, NEEDS) {
        let shelf = Shelf::new();
        let gate = Arc::new(Semaphore::new(0));
        let (seen, mut taken) = mpsc::unbounded_channel();
        let held = Arc::clone(&gate);
        let first = Consumer::start(&stage.bus, 8, &shelf, move |delivery| {
            let _ = seen.send(text(&delivery));
            let gate = Arc::clone(&held);
            async move {
                gate.acquire().await.unwrap().forget();
                Verdict::Done
            }
        });
        stage.publish(message("running")).await;
        assert_eq!(within_timeout("the running one", taken.recv()).await.unwrap(), "running");
        first.cancel.cancel();
        for n in 0..20 {
            stage.publish(message(n.to_string())).await;
        }
        gate.add_permits(100);
        within_timeout("the end", first.task).await.unwrap();
        let mut begun = 0;
        while taken.try_recv().is_ok() {
            begun += 1;
        }
        let (second, mut deliveries) = Consumer::recording(&stage.other_process().await, 8, &shelf);
        for _ in begun..20 {
            // Long before the lease ends, and not counted as an attempt.
            assert_eq!(next(&mut deliveries).await.attempt, 1);
        }
        stage.until_lag("the ends", |lag| lag.pending + lag.in_flight == 0).await;
        second.stop().await;
    }
}

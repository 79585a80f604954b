//! NATS is down, or comes back with nothing in it, while payments are under way. It carries work and news; the database
//! and WeChat have the truth.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::faults::audit::{self, Orders};
use crate::faults::load::{numbers, place_at_last, until_notified, until_paid};
use crate::faults::until;
use crate::flows::notifications::{SIGNED_BY_THE_TEST, notify, signed};
use crate::harness::nats::NatsServer;
use crate::harness::service::{KEY, Process, Processes, Queue, TestService, jsapi};

fn nats(rig: &mut Processes) -> &mut NatsServer {
    match &mut rig.queue {
        Queue::Nats(server) => server,
        Queue::Embedded | Queue::Cluster(_) => panic!("not on NATS"),
    }
}

async fn place(rig: &Processes, service: &Process, orders: &Orders) {
    let placing = orders.iter().map(|(order_no, amount_fen)| rig.place(&service.base, order_no, *amount_fen));
    futures_util::future::join_all(placing).await;
}

/// Has WeChat asked about an order until it is in this state.
async fn refresh_until(rig: &Processes, service: &Process, order_no: &str, state: &str) {
    until(&format!("{order_no} {state}"), || async {
        let path = format!("/v1/orders/{order_no}?merchant=main&refresh=1");
        let (status, order) = rig.try_get(&service.base, &path).await.ok()?;
        (status == 200 && order["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_nats_costs_time_and_no_payment() {
    let mut rig = TestService::nats_postgres().await.processes().await;
    let service = rig.run_roles("ingress,relay,scheduler").await;
    let worker = rig.run_roles("worker").await;
    let (taken, untold) = (numbers(0..10), numbers(10..20));
    place(&rig, &service, &taken).await;
    place(&rig, &service, &untold).await;
    assert!(worker.terminate().await.success());
    // Ten notifications are taken, and an order; no worker handles them before everything on NATS is gone.
    for order_no in taken.keys() {
        rig.pay(order_no).await;
    }
    for order_no in taken.keys() {
        until(&format!("SUCCESS for {order_no}"), || async {
            let truth = rig.wechat_ledger(order_no).await;
            (truth["orders"][0]["acknowledged"] == true).then_some(())
        })
        .await;
    }
    let (status, late) = rig.post(&service.base, "/v1/orders", &jsapi("A000020", 120)).await;
    assert_eq!((status, &late["state"]), (202, &json!("requested")), "{late}");
    nats(&mut rig).kill();
    nats(&mut rig).wipe();
    // Ten are paid while it is away: WeChat hears no SUCCESS and repeats.
    for order_no in untold.keys() {
        rig.pay(order_no).await;
    }
    nats(&mut rig).start_again();
    // The worker of before the wipe is gone; the ingress, the relay and the scheduler are the same processes.
    let _worker = rig.run_roles("worker").await;
    refresh_until(&rig, &service, "A000020", "payable").await;
    rig.pay("A000020").await;
    for order_no in taken.keys().chain(untold.keys()).chain([&"A000020".to_owned()]) {
        refresh_until(&rig, &service, order_no, "paid").await;
    }
    rig.until_drained().await;
    // What was not taken is notified again, and is a repeat by then.
    for order_no in taken.keys().chain(untold.keys()) {
        until_notified(&rig, order_no).await;
    }
    rig.until_drained().await;
    let all: Orders = numbers(0..21);
    let db = rig.open_db().await;
    for (what, rows) in [
        ("ledger", 21),
        ("orders WHERE state = 'paid'", 21),
        ("outbox WHERE event_type = 'wxpay.order.paid.v1'", 21),
        ("dead_letters", 0),
    ] {
        assert_eq!(rig.number(&db, &format!("SELECT COUNT(*) FROM {what}")).await, rows, "{what}");
    }
    for (order_no, amount_fen) in &all {
        let theirs = rig.wechat_ledger(order_no).await;
        let (_, ours) = rig.get(&service.base, &format!("/v1/orders/{order_no}?merchant=main")).await;
        assert_eq!(theirs["payments"][0]["transaction_id"], ours["transaction_id"]);
        assert_eq!(
            (&theirs["payments"][0]["total_fee"], &ours["amount_fen"]),
            (&json!(amount_fen), &json!(amount_fen))
        );
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_running_service_makes_wiped_streams_again_and_goes_on() {
    let mut rig = TestService::nats_sqlite().await.processes().await;
    let service = rig.run_all().await;
    let before = numbers(0..3);
    place(&rig, &service, &before).await;
    for order_no in before.keys() {
        rig.pay(order_no).await;
        rig.until_state(&service.base, order_no, "paid").await;
    }
    rig.until_drained().await;
    nats(&mut rig).kill();
    nats(&mut rig).wipe();
    nats(&mut rig).start_again();
    // The same process, without a restart.
    let after = numbers(3..6);
    for (order_no, amount_fen) in &after {
        until("pay parameters", || async {
            let answer = rig.try_post(&service.base, "/v1/orders", &jsapi(order_no, *amount_fen)).await;
            (answer.ok()?.0 == 200).then_some(())
        })
        .await;
        rig.pay(order_no).await;
        rig.until_state(&service.base, order_no, "paid").await;
    }
    rig.until_drained().await;
    audit::all_paid_once(&rig, &service.base, &numbers(0..6)).await;
    let db = rig.open_db().await;
    // Those of after the wipe.
    audit::published_once(&rig, &db, "order.paid", 3).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nats_is_down_no_notification_hears_success_and_afterwards_everything_recovers() {
    let mut rig = TestService::nats_postgres().await.processes().await;
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    let service = rig.run_all().await;
    rig.place(&service.base, "A700001", 100).await;
    nats(&mut rig).kill();
    // WeChat waits five seconds. A busy machine may be late by itself, and not each time.
    let mut took: Vec<Duration> = Vec::new();
    while took.last().is_none_or(|last| *last >= Duration::from_secs(5)) {
        assert!(took.len() < 4, "answered after {took:?}");
        let asked = Instant::now();
        let answers =
            futures_util::future::join_all((0..20).map(|_| notify(&rig, &service, "main", signed(&[], KEY)))).await;
        took.push(asked.elapsed());
        for (status, answer) in answers {
            assert_eq!((status, answer.contains("FAIL"), answer.contains("SUCCESS")), (503, true, false), "{answer}");
        }
    }
    // An order needs the database and WeChat.
    let order = rig.place(&service.base, "A700002", 100).await;
    assert_eq!(order["state"], "payable", "{order}");
    nats(&mut rig).start_again();
    until("SUCCESS", || async {
        notify(&rig, &service, "main", signed(&[], KEY)).await.1.contains("SUCCESS").then_some(())
    })
    .await;
    rig.until_state(&service.base, "A700001", "paid").await;
    until("pay parameters", || async {
        let answer = rig.try_post(&service.base, "/v1/orders", &jsapi("A700002", 100)).await;
        (answer.ok()?.0 == 200).then_some(())
    })
    .await;
    rig.until_drained().await;
    let db = rig.open_db().await;
    for (what, rows) in [("ledger", 1), ("outbox WHERE event_type = 'wxpay.order.paid.v1'", 1), ("dead_letters", 0)] {
        assert_eq!(rig.number(&db, &format!("SELECT COUNT(*) FROM {what}")).await, rows, "{what}");
    }
    rig.finish().await;
}

/// How many messages a stream has.
async fn messages(rig: &Processes, stream: &str) -> u64 {
    let context = async_nats::jetstream::new(async_nats::connect(rig.queue.url()).await.unwrap());
    context.get_stream(stream).await.unwrap().cached_info().state.messages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_torn_tail_of_nats_newest_block_costs_time_and_no_payment() {
    /// The newest message in part, and one or two before it.
    const TORN: u64 = 4_000;
    let mut rig = TestService::nats_postgres().await.processes().await;
    let service = rig.run_roles("ingress,relay,scheduler").await;
    let worker = rig.run_roles("worker").await;
    let (taken, after) = (numbers(0..8), numbers(8..14));
    place(&rig, &service, &taken).await;
    // No question comes into the queue while it is counted what was lost of it.
    let db = rig.open_db().await;
    db.execute("test", "UPDATE orders SET next_query_at_ms = expires_at_ms", []).await.unwrap();
    assert!(worker.terminate().await.success());
    // WeChat hears SUCCESS for all of them; no worker handles them before the newest are gone.
    for order_no in taken.keys() {
        rig.pay(order_no).await;
        until_notified(&rig, order_no).await;
    }
    let had = messages(&rig, "PAY_IN").await;
    nats(&mut rig).kill();
    nats(&mut rig).cut_tail("PAY_IN", TORN);
    nats(&mut rig).start_again();
    assert!(messages(&rig, "PAY_IN").await < had, "nothing was lost");
    db.execute("test", "UPDATE orders SET next_query_at_ms = created_at_ms", []).await.unwrap();
    let worker = rig.run_roles("worker").await;
    until_paid(&rig, &service.base, &taken).await;
    rig.until_drained().await;
    // What is torn off now had been acknowledged: new messages get numbers that consumers have seen.
    let had = messages(&rig, "PAY_IN").await;
    nats(&mut rig).kill();
    nats(&mut rig).cut_tail("PAY_IN", TORN);
    nats(&mut rig).cut_tail("PAY_EVENTS", TORN);
    nats(&mut rig).start_again();
    assert!(messages(&rig, "PAY_IN").await < had, "nothing was lost");
    for (order_no, amount_fen) in &after {
        place_at_last(&rig, &service.base, order_no, *amount_fen).await;
        rig.pay(order_no).await;
    }
    until_paid(&rig, &service.base, &after).await;
    rig.until_drained().await;
    drop(worker);
    audit::paid_once(&rig, &service.base, &numbers(0..14)).await;
    assert_eq!(rig.number(&db, "SELECT COUNT(*) FROM dead_letters").await, 0, "dead letters");
    rig.finish().await;
}

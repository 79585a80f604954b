//! Notifications that are accepted into the intake log: settled once, also where a process dies under load.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::support::*;
use crate::faults::audit;
use crate::faults::until;
use crate::flows::notifications::{SIGNED_BY_THE_TEST, notify, signed};
use crate::harness::service::{KEY, Process};
use crate::harness::size;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_are_settled_from_the_log_and_a_stopped_process_leaves_none() {
    let rig = with_log().await;
    let service = rig.run_all().await;
    let orders = orders(40);
    place_and_pay(&rig, &service.base, &orders).await;
    let db = rig.open_db().await;
    until_paid(&rig, &db).await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &service.base, &orders).await;
    assert_eq!(rig.number(&db, QUEUED).await, 0, "the queue has no part in it");
    assert_eq!((rig.number(&db, CURSORS).await, logs(&rig).await), (1, 1));
    assert!(rig.number(&db, "SELECT position FROM intake_logs").await > 0, "the cursor moved");
    assert!(service.terminate().await.success());
    assert_eq!((rig.number(&db, CURSORS).await, logs(&rig).await), (0, 0));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_order_leaves_the_log_for_the_queue_and_holds_nothing_up() {
    let rig = with_log().await;
    let service = rig.run_all().await;
    rig.place(&service.base, "L000001", 100).await;
    let early = signed(&[("out_trade_no", "A700001")], KEY);
    assert_eq!(notify(&rig, &service, "main", early).await.0, 200);
    rig.pay("L000001").await;
    rig.until_state(&service.base, "L000001", "paid").await;
    let db = rig.open_db().await;
    until("a message of the queue", || async { (rig.number(&db, QUEUED).await == 1).then_some(()) }).await;
    rig.place(&service.base, "A700001", 100).await;
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    rig.until_state(&service.base, "A700001", "paid").await;
    rig.until_drained().await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_contradicts_its_order_is_marked_and_parked_by_the_queue_and_its_order_is_paid_all_the_same() {
    let rig = with_log().await;
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    rig.expect_dead_letters(&["amount_differs"]);
    let service = rig.run_all().await;
    place_unasked(&rig, &service, 1..=1).await;
    let other = "4200000000202611229900000001";
    let wrong = signed(&[("out_trade_no", "L000001"), ("total_fee", "99"), ("transaction_id", other)], KEY);
    assert_eq!(notify(&rig, &service, "main", wrong).await.0, 200);
    let db = rig.open_db().await;
    let parked = "SELECT COUNT(*) FROM dead_letters";
    until("a dead letter", || async { (rig.number(&db, parked).await == 1).then_some(()) }).await;
    assert_eq!(rig.number(&db, QUEUED).await, 1);
    assert!(is_taken(&rig, &service, 2).await, "of no order yet, in the next group");
    assert!(is_taken(&rig, &service, 1).await);
    rig.until_state(&service.base, "L000001", "paid").await;
    place_unasked(&rig, &service, 2..=2).await;
    rig.until_state(&service.base, "L000002", "paid").await;
    rig.until_drained().await;
    assert_eq!(rig.number(&db, LEDGER).await, 2);
    rig.finish().await;
}

/// Two processes on one file; one is killed under load, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_and_doubles_nothing_that_its_log_had() {
    let rig = with_log().await;
    let beside: Process = rig.run_beside("worker,relay,scheduler", &[]).await;
    let mut service = rig.run_all().await;
    let orders = orders(size(60, 600));
    for (order_no, amount_fen) in &orders {
        rig.place(&service.base, order_no, *amount_fen).await;
    }
    let numbers: Vec<&String> = orders.keys().collect();
    for part in numbers.chunks(20) {
        let paying = stream::iter(part).map(|order_no| rig.pay(order_no));
        paying.buffer_unordered(8).collect::<Vec<Value>>().await;
        service.kill();
        service = rig.run_all().await;
    }
    // What was never acknowledged is repeated by WeChat.
    rig.faults(json!([])).await;
    let db = rig.open_db().await;
    until_paid(&rig, &db).await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &service.base, &orders).await;
    // Every process was one like this, which settles from its log.
    let before = rig.number(&db, SETTLED_BYTES).await;
    rig.place(&service.base, "L900000", 100).await;
    rig.pay("L900000").await;
    rig.until_state(&service.base, "L900000", "paid").await;
    assert!(rig.number(&db, SETTLED_BYTES).await > before, "the cursor moved");
    rig.until_drained().await;
    drop(beside);
    rig.finish().await;
}

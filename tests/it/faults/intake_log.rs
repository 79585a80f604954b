//! Notifications that are accepted into the intake log: settled once, whichever process dies in between.

use std::path::PathBuf;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use wxpay_worker::store::Db;

use super::audit::{self, Orders};
use super::until;
use crate::flows::notifications::{SIGNED_BY_THE_TEST, notify, signed};
use crate::harness::service::{KEY, Process, Processes, TestService};
use crate::harness::size;

const LOG: &str = "[server]\nintake = \"log\"";
/// Messages of notifications that went by the queue.
const QUEUED: &str = "SELECT COUNT(*) FROM bus_messages WHERE subject LIKE 'pay.in.main.notify.%'";
const CURSORS: &str = "SELECT COUNT(*) FROM intake_logs";

async fn with_log() -> Processes {
    TestService::embedded_sqlite().await.config(LOG).processes().await
}

fn orders(count: i64) -> Orders {
    (0..count).map(|n| (format!("L{n:06}"), 100 + n)).collect()
}

async fn place_and_pay(rig: &Processes, base: &str, orders: &Orders) {
    let placing = stream::iter(orders).map(|(order_no, amount_fen)| async move {
        rig.place(base, order_no, *amount_fen).await;
        rig.pay(order_no).await
    });
    placing.buffer_unordered(16).collect::<Vec<Value>>().await;
}

async fn until_paid(rig: &Processes, db: &Db) {
    let left = "SELECT COUNT(*) FROM orders WHERE state <> 'paid'";
    until("every order paid", || async { (rig.number(db, left).await == 0).then_some(()) }).await;
}

/// The folder of the logs.
fn folder(rig: &Processes) -> PathBuf {
    PathBuf::from(format!("{}.intake", rig.db.url().trim_start_matches("sqlite://")))
}

/// The logs that lie beside the database.
async fn logs(rig: &Processes) -> usize {
    std::fs::read_dir(folder(rig)).map_or(0, Iterator::count)
}

async fn said(rig: &Processes, text: &str) {
    until(text, || async { rig.logs().contains(text).then_some(()) }).await;
}

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

/// A process that is killed at `site`, and those after it: the next is armed with `then`.
#[cfg(debug_assertions)]
async fn killed_at(site: &str, then: Option<&str>) {
    let rig = with_log().await;
    let mut service = rig.run_all_with(&[("WXPAY_CRASH_AT", site)]).await;
    let base = service.base.clone();
    rig.place(&base, "L000001", 100).await;
    rig.pay("L000001").await;
    service.until_dead().await;
    if let Some(site) = then {
        let mut next = rig.run_all_with(&[("WXPAY_CRASH_AT", site)]).await;
        next.until_dead().await;
    }
    let service = rig.run_all().await;
    rig.until_state(&service.base, "L000001", "paid").await;
    rig.until_drained().await;
    let orders = Orders::from([("L000001".to_owned(), 100)]);
    audit::all_paid_once(&rig, &service.base, &orders).await;
    let db = rig.open_db().await;
    until("the dead process's log gone", || async { (logs(&rig).await == 1).then_some(()) }).await;
    assert_eq!(rig.number(&db, "SELECT COUNT(*) FROM ledger").await, 1);
    rig.finish().await;
}

/// The crash points of the log that [`a_process_may_die_at_every_point_of_the_log`] passes.
#[cfg(debug_assertions)]
pub const POINTS: [&str; 5] =
    ["intake.written", "intake.synced", "intake.settled", "intake.taken_over", "intake.moved"];

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_at_every_point_of_the_log() {
    let [written, synced, settled, taken_over, moved] = POINTS;
    let cases = [
        (written, None),
        (synced, None),
        ("worker.verified", None),
        (settled, None),
        (synced, Some(taken_over)),
        (synced, Some(moved)),
    ];
    for (site, then) in cases {
        killed_at(site, then).await;
    }
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
    drop(beside);
    rig.finish().await;
}

/// Whether with or without a log of its own, a process removes nothing that is no log of its database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_beside_the_logs_stay_and_logs_of_others_are_reported() {
    let rig = with_log().await;
    let photos = folder(&rig).join("photos");
    let other = folder(&rig).join("notify-bbbbbbbbbbbbbbbbbbbb");
    for made in [&photos, &other] {
        std::fs::create_dir_all(made).unwrap();
        std::fs::write(made.join("lock"), "").unwrap();
        std::fs::write(made.join("00000000000000000000-00000000000000000000.log"), [7; 100]).unwrap();
    }
    let service = rig.run_all().await;
    said(&rig, "no file of it has a valid header").await;
    assert!(service.terminate().await.success());
    for made in [&photos, &other] {
        assert_eq!(std::fs::read_dir(made).unwrap().count(), 2);
    }
    rig.finish().await;
}

/// The cursor of another database, as after a restore under the running service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_is_elsewhere_ends_the_process_and_the_next_one_settles() {
    let rig = with_log().await;
    let mut service = rig.run_all().await;
    rig.place(&service.base, "L000001", 100).await;
    let db = rig.open_db().await;
    until("a cursor", || async { (rig.number(&db, CURSORS).await == 1).then_some(()) }).await;
    db.execute("test", "DELETE FROM intake_logs", []).await.unwrap();
    rig.pay("L000001").await;
    service.until_dead().await;
    said(&rig, "the database's cursor of").await;
    let service = rig.run_all().await;
    rig.until_state(&service.base, "L000001", "paid").await;
    rig.until_drained().await;
    let orders = Orders::from([("L000001".to_owned(), 100)]);
    audit::all_paid_once(&rig, &service.base, &orders).await;
    rig.finish().await;
}

/// A cursor behind which the files are gone: what was in them is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_missing_is_said_and_open_orders_are_asked_about() {
    let rig = with_log().await;
    let mut service = rig.run_all().await;
    let db = rig.open_db().await;
    until("a cursor", || async { (rig.number(&db, CURSORS).await == 1).then_some(()) }).await;
    rig.place(&service.base, "L000001", 100).await;
    service.kill();
    std::fs::remove_dir_all(folder(&rig)).unwrap();
    let far = "UPDATE orders SET next_query_at_ms = next_query_at_ms + 86400000 WHERE state = 'payable'";
    db.execute("test", far, []).await.unwrap();
    service = rig.run_all().await;
    said(&rig, "an intake log that was not settled to its end is missing").await;
    let late = "SELECT COUNT(*) FROM orders WHERE next_query_at_ms > created_at_ms + 43200000";
    until("the order is asked about", || async { (rig.number(&db, late).await == 0).then_some(()) }).await;
    drop(service);
    rig.finish().await;
}

//! SQLite cannot write: its disk is full, or another process holds its lock. It goes on by itself as soon as it can.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::faults::databases::limits::{limit_files, run_without_signal};
use crate::faults::load::{numbers, place_and_pay, readiness, tell, until_notified, until_paid};
use crate::faults::{audit, until};
use crate::harness::db::TestDb;
use crate::harness::locker::Locker;
use crate::harness::service::{Process, Processes, TestService, jsapi};

/// Longer than a write waits for the lock (8 s), and than a delivery waits for the database in its place (6 s).
const LONG: Duration = Duration::from_secs(10);

fn folder(rig: &Processes) -> &std::path::Path {
    let TestDb::Sqlite(folder) = &rig.db else { unreachable!("on SQLite") };
    folder.path()
}

/// SQLite's log cannot grow by one page: what is written next is cut off in its middle.
fn fill_disk(rig: &Processes, process: &Process) {
    let log = std::fs::metadata(folder(rig).join("wxpay.db-wal")).unwrap().len();
    limit_files(process, Some(log + 2_000));
}

/// Awaits that WeChat hears FAIL, and asserts that from then on every caller hears that the service cannot.
async fn refuses(rig: &Processes, service: &Process, paid: &str) {
    until("FAIL", || async { (!tell(rig, paid).await).then_some(()) }).await;
    let notified = join_all((0..20).map(|_| tell(rig, paid))).await;
    assert!(notified.iter().all(|success| !success), "SUCCESS for what cannot be kept");
    let (status, problem) = rig.post(&service.base, "/v1/orders", &jsapi("A900000", 100)).await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{problem}");
    // Alive, and not ready.
    assert_eq!(rig.http.get(format!("{}/healthz", service.base)).send().await.unwrap().status(), 200);
    until("unready", || async { (readiness(rig, &service.base, "database").await.0 == 503).then_some(()) }).await;
}

async fn says_that_it_takes_no_writes(rig: &Processes, service: &Process) {
    until("the notice", || async {
        let (status, check) = readiness(rig, &service.base, "database").await;
        (status == 503 && check["reason"].as_str()?.contains("takes no writes")).then_some(())
    })
    .await;
}

/// Everything is settled, by the process that was there all the time.
async fn all_is_well(rig: &Processes, mut service: Process, orders: usize) {
    let all = numbers(0..orders);
    until_paid(rig, &service.base, &all).await;
    rig.until_drained().await;
    until("ready", || async { (readiness(rig, &service.base, "database").await.0 == 200).then_some(()) }).await;
    assert!(service.is_alive());
    audit::all_paid_once(rig, &service.base, &all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_answered_with_fail_and_afterwards_everything_recovers() {
    let rig = TestService::embedded_sqlite().await.direct().processes().await;
    let service = run_without_signal(&rig).await;
    let (before, meanwhile) = (numbers(0..2), numbers(2..14));
    for (order_no, amount_fen) in &before {
        rig.place(&service.base, order_no, *amount_fen).await;
    }
    let full = async {
        // Twice: what the first time leaves behind must not be what the second one meets.
        for order_no in before.keys() {
            fill_disk(&rig, &service);
            rig.pay(order_no).await;
            refuses(&rig, &service, order_no).await;
            says_that_it_takes_no_writes(&rig, &service).await;
            limit_files(&service, None);
            until_notified(&rig, order_no).await;
        }
    };
    tokio::join!(place_and_pay(&rig, &service.base, &meanwhile), full);
    assert!(rig.logs().contains("database not available: disk I/O error"), "the log says why");
    all_is_well(&rig, service, 14).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nats_keeps_is_settled_once_the_disk_is_not_full_any_more() {
    let rig = TestService::nats_sqlite().await.processes().await;
    let service = run_without_signal(&rig).await;
    let orders = numbers(0..8);
    for (order_no, amount_fen) in &orders {
        rig.place(&service.base, order_no, *amount_fen).await;
    }
    fill_disk(&rig, &service);
    says_that_it_takes_no_writes(&rig, &service).await;
    for order_no in orders.keys() {
        rig.pay(order_no).await;
        until_notified(&rig, order_no).await;
    }
    tokio::time::sleep(LONG).await;
    limit_files(&service, None);
    all_is_well(&rig, service, 8).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_another_process_locks_the_database_wechat_hears_fail_and_afterwards_everything_recovers() {
    let rig = TestService::embedded_sqlite().await.direct().processes().await;
    let service = rig.run_all().await;
    rig.place(&service.base, "A000000", 100).await;
    let meanwhile = numbers(1..13);
    let locked = async {
        let locker = Locker::start(&folder(&rig).join("wxpay.db")).await;
        rig.pay("A000000").await;
        refuses(&rig, &service, "A000000").await;
        tokio::time::sleep(LONG).await;
        drop(locker);
        until_notified(&rig, "A000000").await;
    };
    tokio::join!(place_and_pay(&rig, &service.base, &meanwhile), locked);
    assert!(rig.logs().contains("database not available: database is locked"), "the log says why");
    all_is_well(&rig, service, 13).await;
    rig.finish().await;
}

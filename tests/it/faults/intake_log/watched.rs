//! What operators see of a log: its gauges, and how a process ends that cannot settle it.

use super::support::*;
use crate::faults::until;
use crate::flows::notifications::{SIGNED_BY_THE_TEST, notify, signed};
use crate::harness::locker::Locker;
use crate::harness::service::{KEY, Process, Processes};

const BYTES: &str = "wxpay_intake_unsettled_bytes";
const AGE: &str = "wxpay_intake_oldest_seconds";
const LAG: &str = "wxpay_bus_lag_messages{consumer=\"settle\"}";
const OLDEST: &str = "wxpay_bus_oldest_unacked_seconds{consumer=\"settle\"}";
const SYNCS: &str = "wxpay_intake_syncs_total";
const COMMITS: &str = "wxpay_store_commits_total";

async fn gauge(rig: &Processes, service: &Process, name: &str) -> f64 {
    rig.metric(service, name).await.unwrap()
}

/// Accepts a payment while the database takes no writes.
async fn accepted_meanwhile(rig: &Processes, service: &Process) -> Locker {
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    rig.place(&service.base, "L000001", 100).await;
    assert_eq!(gauge(rig, service, BYTES).await, 0.0);
    let locker = Locker::start(&database(rig)).await;
    let (status, answer) = notify(rig, service, "main", signed(&[("out_trade_no", "L000001")], KEY)).await;
    assert!(status == 200 && answer.contains("SUCCESS"), "{status} {answer}");
    locker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_while_the_database_takes_no_writes_is_counted_and_settled_after() {
    let rig = with_log().await;
    let service = rig.run_all().await;
    let locker = accepted_meanwhile(&rig, &service).await;
    assert!(gauge(&rig, &service, BYTES).await > 0.0);
    assert!(gauge(&rig, &service, AGE).await > 0.0);
    assert_eq!(gauge(&rig, &service, SYNCS).await, 1.0, "one notification, one group");
    // The lag of the queue's consumer counts it, too.
    let (status, bus) = rig.get(&service.base, "/v1/ops/bus").await;
    assert_eq!(status, 200, "{bus}");
    let settle = bus["consumers"].as_array().unwrap().iter().find(|consumer| consumer["name"] == "settle").unwrap();
    assert!(settle["pending"] == 1 && settle["oldest_age_s"].is_u64(), "{settle}");
    until("the gauges of the queue", || async {
        let measured = (rig.metric::<f64>(&service, LAG).await?, rig.metric::<f64>(&service, OLDEST).await?);
        (measured.0 == 1.0 && measured.1 > 0.0).then_some(())
    })
    .await;
    let committed = gauge(&rig, &service, COMMITS).await;
    drop(locker);
    rig.until_state(&service.base, "L000001", "paid").await;
    until("nothing waits", || async {
        let left = [BYTES, AGE, LAG, OLDEST].map(|name| gauge(&rig, &service, name));
        futures_util::future::join_all(left).await.iter().all(|left| *left == 0.0).then_some(())
    })
    .await;
    assert!(gauge(&rig, &service, COMMITS).await > committed);
    rig.until_drained().await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_unsettled_names_the_folder_and_the_next_one_settles() {
    let rig = a_service().await.config("[server]\nshutdown_timeout_ms = 1000").processes().await;
    let service = rig.run_all().await;
    let locker = accepted_meanwhile(&rig, &service).await;
    assert!(!service.terminate().await.success());
    said(&rig, "are not settled: keep the folder").await;
    drop(locker);
    let service = rig.run_all().await;
    rig.until_state(&service.base, "L000001", "paid").await;
    rig.until_drained().await;
    let db = rig.open_db().await;
    assert_eq!(rig.number(&db, "SELECT COUNT(*) FROM ledger").await, 1);
    rig.finish().await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_thread_dies_acknowledges_nothing_and_ends_the_process() {
    let rig = with_log().await;
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    let mut service = rig.run_all_with(&[("WXPAY_PANIC_AT", "intake.written")]).await;
    rig.place(&service.base, "L000001", 100).await;
    let (status, answer) = notify(&rig, &service, "main", signed(&[("out_trade_no", "L000001")], KEY)).await;
    assert!(status == 503 && answer.contains("FAIL"), "{status} {answer}");
    service.until_dead().await;
    said(&rig, "has died").await;
    // Its bytes were written all the same: it is settled, or WeChat repeats it.
    let service = rig.run_all().await;
    rig.until_state(&service.base, "L000001", "paid").await;
    rig.until_drained().await;
    rig.finish().await;
}

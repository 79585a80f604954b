//! A process with an intake log dies at a point of it: the next one loses and doubles nothing.

use std::os::unix::process::ExitStatusExt;

use serde_json::json;

use super::support::*;
use crate::faults::audit::{self, Orders};
use crate::faults::until;
use crate::flows::notifications::{SIGNED_BY_THE_TEST, signed};
use crate::harness::service::{KEY, MCH_ID};

const SYNCED: &str = "intake.synced";
const QUEUED_ROW: &str = "intake.queued";
const FILE_REMOVED: &str = "intake.file_removed";
/// Before the files of a log that is done are removed, and before its folder is.
const ENDED: &str = "intake.ended";
const REMOVED: &str = "intake.removed";

/// The crash points of the log, each in a test of this file.
pub const POINTS: [&str; 9] = [
    "intake.written",
    SYNCED,
    "intake.settled",
    "intake.taken_over",
    "intake.moved",
    QUEUED_ROW,
    FILE_REMOVED,
    ENDED,
    REMOVED,
];

fn paid(numbers: std::ops::RangeInclusive<u32>) -> Orders {
    numbers.map(|n| (format!("L{n:06}"), 100)).collect()
}

/// A process that is killed at `site`, and those after it: the next is armed with `then`.
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
    audit::all_paid_once(&rig, &service.base, &paid(1..=1)).await;
    let db = rig.open_db().await;
    until("the dead process's log gone", || async { (logs(&rig).await == 1).then_some(()) }).await;
    assert_eq!(rig.number(&db, LEDGER).await, 1);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_at_every_point_of_the_log() {
    let cases = [
        ("intake.written", None),
        (SYNCED, None),
        ("worker.verified", None),
        ("intake.settled", None),
        (SYNCED, Some("intake.taken_over")),
        (SYNCED, Some("intake.moved")),
    ];
    for (site, then) in cases {
        killed_at(site, then).await;
    }
}

/// One that took over the log of another, and one that ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_while_it_removes_a_log_that_is_done() {
    for site in [ENDED, REMOVED] {
        killed_at(SYNCED, Some(site)).await;
        let rig = with_log().await;
        let service = rig.run_all_with(&[("WXPAY_CRASH_AT", site)]).await;
        rig.place(&service.base, "L000001", 100).await;
        rig.pay("L000001").await;
        rig.until_state(&service.base, "L000001", "paid").await;
        let log = only_log(&rig);
        assert_eq!(service.terminate().await.signal(), Some(9), "{site}");
        assert!(log.exists(), "{site}");
        let service = rig.run_all().await;
        until_gone(&log).await;
        rig.until_drained().await;
        audit::all_paid_once(&rig, &service.base, &paid(1..=1)).await;
        assert!(!rig.logs().contains("that was not settled to its end is missing"), "{site}");
        rig.finish().await;
    }
}

/// A write that fails has the next file begun, before which those go that are settled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_while_it_removes_a_settled_file_of_its_log() {
    let rig = with_log().await;
    let armed = [("WXPAY_CRASH_AT", FILE_REMOVED), ("WXPAY_FAIL_AT", "intake.write:2")];
    let mut service = rig.run_all_with(&armed).await;
    let base = service.base.clone();
    for order_no in ["L000001", "L000002"] {
        rig.place(&base, order_no, 100).await;
    }
    rig.pay("L000001").await;
    rig.until_state(&base, "L000001", "paid").await;
    let mut settled = files(&only_log(&rig));
    assert_eq!(settled.len(), 1);
    let settled = settled.remove(0);
    rig.pay("L000002").await;
    service.until_dead().await;
    assert!(!settled.exists(), "the file whose records are settled is gone");
    let service = rig.run_all().await;
    // WeChat heard no SUCCESS.
    let again = json!({"mch_id": MCH_ID, "out_trade_no": "L000002"});
    rig.post(&rig.wechat_url, "/_sandbox/notify", &again).await;
    rig.until_state(&service.base, "L000002", "paid").await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &service.base, &paid(1..=2)).await;
    let db = rig.open_db().await;
    until("the dead process's log gone", || async { (logs(&rig).await == 1).then_some(()) }).await;
    assert_eq!(rig.number(&db, LEDGER).await, 2);
    rig.finish().await;
}

/// What contradicts its order is moved to the queue, with the cursor and without a group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_once_it_moved_a_group_to_the_queue() {
    let rig = with_log().await;
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    rig.expect_dead_letters(&["amount_differs"]);
    let mut service = rig.run_all_with(&[("WXPAY_CRASH_AT", QUEUED_ROW)]).await;
    place_unasked(&rig, &service, 1..=1).await;
    let other = "4200000000202611229900000001";
    let wrong = signed(&[("out_trade_no", "L000001"), ("total_fee", "99"), ("transaction_id", other)], KEY);
    let request = rig.http.post(format!("{}/notify/main/pay", service.base)).header("content-type", "text/xml");
    // It may die before its answer is read.
    let _ = request.body(wrong).send().await;
    service.until_dead().await;
    let db = rig.open_db().await;
    assert_eq!(rig.number(&db, QUEUED).await, 1);
    let service = rig.run_all().await;
    let parked = "SELECT COUNT(*) FROM dead_letters";
    until("a dead letter", || async { (rig.number(&db, parked).await == 1).then_some(()) }).await;
    assert!(is_taken(&rig, &service, 1).await);
    rig.until_state(&service.base, "L000001", "paid").await;
    rig.until_drained().await;
    until("the dead process's log gone", || async { (logs(&rig).await == 1).then_some(()) }).await;
    let counts = [rig.number(&db, QUEUED).await, rig.number(&db, parked).await, rig.number(&db, LEDGER).await];
    assert_eq!(counts, [1, 1, 1], "moved, parked and paid once each");
    rig.finish().await;
}

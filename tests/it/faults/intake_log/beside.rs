//! Processes with a log and processes without one on one file: none reads the other's, and what a log holds is settled
//! by whichever process lives.

use super::support::*;
#[cfg(debug_assertions)]
use crate::faults::audit::{self, Orders};
use crate::faults::until;
use crate::flows::notifications::SIGNED_BY_THE_TEST;
#[cfg(debug_assertions)]
use crate::harness::service::Processes;
use crate::harness::service::TestService;

const ALL: &str = "ingress,worker,relay,scheduler";
const DIRECT: &[(&str, &str)] = &[("WXPAY__SERVER__INTAKE", "direct")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_goes_by_its_log_and_one_by_the_queue_and_a_repeat_to_the_other_changes_nothing() {
    const ORDERS: u32 = 20;
    let rig = with_log().await;
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    let (log, direct) = (rig.run_all().await, rig.run_beside(ALL, DIRECT).await);
    place_unasked(&rig, &log, 1..=ORDERS).await;
    let db = rig.open_db().await;
    for n in 1..=ORDERS {
        let service = if n % 2 == 0 { &log } else { &direct };
        assert!(is_taken(&rig, service, n).await);
    }
    until_paid(&rig, &db).await;
    rig.until_drained().await;
    assert_eq!(rig.number(&db, QUEUED).await, i64::from(ORDERS / 2));
    assert_eq!((rig.number(&db, CURSORS).await, logs(&rig).await), (1, 1), "one of them has a log");
    assert!(rig.number(&db, SETTLED_BYTES).await > 0, "the cursor moved");
    for n in 1..=ORDERS {
        let service = if n % 2 == 0 { &direct } else { &log };
        assert!(is_taken(&rig, service, n).await);
    }
    rig.until_drained().await;
    assert_eq!(rig.number(&db, LEDGER).await, i64::from(ORDERS));
    for service in [log, direct] {
        assert!(service.terminate().await.success());
    }
    rig.finish().await;
}

/// It began before there was a folder of logs at all.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_a_log_settles_what_one_leaves_that_began_later_and_died() {
    let rig = TestService::embedded_sqlite().await.processes().await;
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    let direct = rig.run_beside(ALL, DIRECT).await;
    assert!(!folder(&rig).exists());
    place_unasked(&rig, &direct, 1..=1).await;
    let mut dies = rig.run_all_with(&[("WXPAY_CRASH_AT", "intake.synced")]).await;
    assert!(rig.http.post(format!("{}/notify/main/pay", dies.base)).body(payment(1)).send().await.is_err());
    dies.until_dead().await;
    rig.until_state(&direct.base, "L000001", "paid").await;
    until("the log gone", || async { (logs(&rig).await == 0).then_some(()) }).await;
    rig.until_drained().await;
    let db = rig.open_db().await;
    assert_eq!((rig.number(&db, LEDGER).await, rig.number(&db, CURSORS).await), (1, 0));
    assert!(direct.terminate().await.success());
    rig.finish().await;
}

/// A log whose process died before it answered, and that the processes of now do not read.
#[cfg(debug_assertions)]
async fn left_unread(rig: &Processes) -> std::path::PathBuf {
    let mut dies = rig.run_all_with(&[("WXPAY_CRASH_AT", "intake.synced")]).await;
    rig.place(&dies.base, "L000001", 100).await;
    rig.pay("L000001").await;
    dies.until_dead().await;
    let aside = folder(rig).with_extension("aside");
    std::fs::rename(folder(rig), &aside).unwrap();
    let db = rig.open_db().await;
    // It lies somewhere, so none is missed; the queries come as they would.
    let there = format!("UPDATE intake_logs SET folder = '{}'", aside.display());
    db.execute("test", there, []).await.unwrap();
    db.execute("test", "UPDATE orders SET next_query_at_ms = created_at_ms", []).await.unwrap();
    aside
}

/// As after going back to a version that knows no log: what it holds is found by the queries; once it is read again,
/// it changes nothing.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_in_a_log_that_is_not_read_the_queries_find_and_it_settles_nothing_twice() {
    let rig = TestService::embedded_sqlite().await.processes().await;
    let aside = left_unread(&rig).await;
    // At another address than WeChat's repeats go to: they are not what finds it.
    let before = rig.run_beside(ALL, DIRECT).await;
    let found = rig.until_state(&before.base, "L000001", "paid").await;
    assert_eq!(found["credited"], true, "{found}");
    assert!(before.terminate().await.success());
    std::fs::rename(aside, folder(&rig)).unwrap();
    let service = rig.run_all().await;
    let db = rig.open_db().await;
    let own = || async { (logs(&rig).await == 1 && rig.number(&db, CURSORS).await == 1).then_some(()) };
    until("the log of the dead process gone", own).await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &service.base, &Orders::from([("L000001".to_owned(), 100)])).await;
    assert_eq!(rig.number(&db, LEDGER).await, 1);
    rig.finish().await;
}

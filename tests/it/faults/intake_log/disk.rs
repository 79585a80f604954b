//! A disk that does not take a log's bytes: WeChat hears FAIL and repeats, and the log goes on in another file.

use super::support::*;
use crate::faults::audit::{self, Orders};
use crate::faults::databases::limits::{limit_files, run_without_signal};
use crate::faults::load::{tell, until_notified};
use crate::faults::until;
#[cfg(debug_assertions)]
use crate::flows::notifications::SIGNED_BY_THE_TEST;

/// What the log alone says of an error of its disk.
const SAYS: &str = "Notifications could not be stored";

/// An error of the disk with the second notification, whose repeat is settled. Where the process dies first, `dies`,
/// the next one takes over what may lie in the file that was given up.
#[cfg(debug_assertions)]
async fn an_error_at(site: &str, dies: bool) {
    let rig = with_log().await;
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    let at = format!("{site}:2");
    let mut service = rig.run_all_with(&[("WXPAY_FAIL_AT", &at)]).await;
    place_unasked(&rig, &service, 1..=3).await;
    let db = rig.open_db().await;
    assert!(is_taken(&rig, &service, 1).await);
    rig.until_state(&service.base, "L000001", "paid").await;
    let given_up = files(&only_log(&rig)).pop().unwrap();
    assert!(!is_taken(&rig, &service, 2).await, "SUCCESS for what the disk did not take");
    said(&rig, SAYS).await;
    let length = std::fs::metadata(&given_up).unwrap().len();
    if dies {
        service.kill();
        service = rig.run_all().await;
        until_gone(given_up.parent().unwrap()).await;
    } else {
        assert_eq!(rig.number(&db, LEDGER).await, 1, "what was refused is not settled");
    }
    for n in [2, 3] {
        assert!(is_taken(&rig, &service, n).await, "the log goes on");
        rig.until_state(&service.base, &format!("L00000{n}"), "paid").await;
    }
    if !dies {
        // A file that begins where the one that was given up counts no more.
        let last = files(&only_log(&rig)).pop().unwrap();
        assert!(last > given_up, "{} and {}", last.display(), given_up.display());
        let now = std::fs::metadata(&given_up).map_or(length, |given_up| given_up.len());
        assert_eq!(now, length, "nothing more is written to the file that was given up");
    }
    // Whatever was written of it, a repeat changes nothing.
    for n in 1..=3 {
        assert!(is_taken(&rig, &service, n).await);
    }
    rig.until_drained().await;
    assert_eq!(rig.number(&db, LEDGER).await, 3);
    assert_eq!(rig.number(&db, "SELECT COUNT(*) FROM notifications WHERE verdict = 'settled'").await, 3);
    assert!(service.terminate().await.success());
    assert_eq!(logs(&rig).await, 0, "all of it is settled");
    rig.finish().await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_error_of_writing_wechat_repeats_and_the_log_goes_on_in_another_file() {
    an_error_at("intake.write", false).await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_error_of_syncing_wechat_repeats_and_the_file_is_not_trusted_any_more() {
    an_error_at("intake.sync", false).await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_after_an_error_of_syncing_leaves_nothing_that_settles_twice() {
    an_error_at("intake.sync", true).await;
}

/// The log's folder and the database are on one disk, as they are by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_leaves_no_heap_of_files_and_the_log_goes_on_once_there_is_room() {
    let rig = with_log().await;
    let mut service = run_without_signal(&rig).await;
    place_unasked(&rig, &service, 1..=3).await;
    let db = rig.open_db().await;
    rig.pay("L000001").await;
    rig.until_state(&service.base, "L000001", "paid").await;
    rig.until_drained().await;
    let log = only_log(&rig);
    let first = used(&files(&log).pop().unwrap());
    let paid = ["L000002", "L000003"];
    // Room for a header and a part of a record; then not for a header.
    for (room, paid) in [first - 20, 20].into_iter().zip(paid) {
        limit_files(&service, Some(room));
        rig.pay(paid).await;
        for _ in 0..8 {
            assert!(!tell(&rig, paid).await, "SUCCESS for what cannot be kept");
        }
        said(&rig, SAYS).await;
        assert_eq!(files(&log).len(), 1, "a try without room leaves no file");
        let refusing = rig.get(&service.base, "/readyz").await;
        assert_eq!(refusing.0, 503, "no notification is to come here: {}", refusing.1);
        limit_files(&service, None);
        until("ready without a notification", || async {
            (rig.get(&service.base, "/readyz").await.0 == 200).then_some(())
        })
        .await;
        until_notified(&rig, paid).await;
        rig.until_state(&service.base, paid, "paid").await;
    }
    assert!(service.is_alive());
    rig.until_drained().await;
    assert_eq!(rig.number(&db, QUEUED).await, 0, "the log went on, and not the queue");
    let orders: Orders = (1..=3).map(|n| (format!("L00000{n}"), 100)).collect();
    audit::all_paid_once(&rig, &service.base, &orders).await;
    assert!(service.terminate().await.success());
    until("nothing left", || async { (logs(&rig).await == 0).then_some(()) }).await;
    rig.finish().await;
}

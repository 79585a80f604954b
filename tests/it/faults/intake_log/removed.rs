//! A log that a person or a program removes while its process writes it.

use super::support::*;
use crate::flows::notifications::SIGNED_BY_THE_TEST;
use crate::harness::locker::Locker;

/// Nothing is acknowledged into a file without a name, what was accepted before is settled from memory, and the process
/// ends, so that the next one begins a log of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_removed_while_it_is_written_takes_nothing_more_and_loses_nothing() {
    let rig = with_log().await;
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    let mut service = rig.run_all().await;
    place_unasked(&rig, &service, 1..=3).await;
    let db = rig.open_db().await;
    assert!(is_taken(&rig, &service, 1).await);
    rig.until_state(&service.base, "L000001", "paid").await;
    rig.until_drained().await;
    // Accepted, and not settled when the log goes.
    let lock = Locker::start(&database(&rig)).await;
    assert!(is_taken(&rig, &service, 2).await);
    std::fs::remove_dir_all(only_log(&rig)).unwrap();
    assert!(!is_taken(&rig, &service, 3).await, "SUCCESS for bytes of a file without a name");
    said(&rig, "the intake log was removed while it was written").await;
    drop(lock);
    service.until_dead().await;
    assert_eq!(rig.number(&db, LEDGER).await, 2, "what was accepted is settled from memory");
    let next = rig.run_all().await;
    assert!(is_taken(&rig, &next, 3).await);
    rig.until_state(&next.base, "L000003", "paid").await;
    rig.until_drained().await;
    assert_eq!(rig.number(&db, LEDGER).await, 3);
    assert!(next.terminate().await.success());
    rig.finish().await;
}

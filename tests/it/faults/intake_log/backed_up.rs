//! A backup that is made while accepted notifications wait in the log, and is restored elsewhere.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::support::*;
use crate::faults::backup::{printed, wxpayd_backup};
use crate::faults::until;
use crate::flows::notifications::SIGNED_BY_THE_TEST;
use crate::harness::db::TestDb;
use crate::harness::locker::Locker;

/// Brings a backup to another host.
fn restored(backup: &Path) -> TestDb {
    let host = TempDir::new().unwrap();
    let copied = Command::new("cp").arg("-r").arg(backup.join(".")).arg(host.path()).status().unwrap();
    assert!(copied.success());
    TestDb::Sqlite(host)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_in_the_log_is_in_the_backup_and_settles_once_where_it_is_restored() {
    let mut rig = with_log().await;
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    let mut service = rig.run_all().await;
    place_unasked(&rig, &service, 1..=3).await;
    assert!(is_taken(&rig, &service, 1).await);
    rig.until_state(&service.base, "L000001", "paid").await;
    // From now on nothing settles.
    let locker = Locker::start(&database(&rig)).await;
    for n in 2..=3 {
        assert!(is_taken(&rig, &service, n).await);
    }
    let into = TempDir::new().unwrap();
    let backup = printed(&wxpayd_backup(&rig, into.path()).await);
    service.kill();
    service.until_dead().await;
    drop(locker);
    // The host is lost with its disk.
    rig.db = restored(&backup);
    let db = rig.open_db().await;
    assert_eq!(rig.number(&db, LEDGER).await, 1, "what waits is not in the copy of the database");
    let log = only_log(&rig);
    let url = rig.db.url();
    let service = rig.run_all_with(&[("WXPAY__STORE__URL", &url)]).await;
    for order_no in ["L000002", "L000003"] {
        rig.until_state(&service.base, order_no, "paid").await;
    }
    until_gone(&log).await;
    rig.until_drained().await;
    let counts = [rig.number(&db, LEDGER).await, rig.number(&db, QUEUED).await];
    assert_eq!(counts, [3, 2], "each once, and what was settled before is not read again");
    until("one cursor", || async { (rig.number(&db, CURSORS).await == 1).then_some(()) }).await;
    for text in ["that was not settled to its end is missing", "Notifications of an intake log are missing"] {
        assert!(!rig.logs().contains(text), "{text}");
    }
    rig.finish().await;
}

//! Logs that their database knows by their name alone, or not at all: its own all the same.

use super::left::{NAME, dead_log, notified, with_orders};
use super::support::*;
use crate::harness::service::Processes;

async fn all_settle(rig: &Processes, orders: u32) {
    let db = rig.open_db().await;
    let service = rig.run_all().await;
    for n in 1..=orders {
        rig.until_state(&service.base, &format!("L00000{n}"), "paid").await;
    }
    until_gone(&folder(rig).join(NAME)).await;
    rig.until_drained().await;
    assert_eq!(rig.number(&db, LEDGER).await, i64::from(orders));
    assert!(service.terminate().await.success());
}

/// A copy from before the first log has no id; the folder beside it has logs of one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_restored_from_before_its_first_log_settles_what_its_processes_left() {
    let rig = with_orders().await;
    dead_log(&rig, (1..=3).map(notified).collect()).await;
    let db = rig.open_db().await;
    for table in ["intake_database", "intake_logs"] {
        db.execute("test", format!("DELETE FROM {table}"), []).await.unwrap();
    }
    all_settle(&rig, 3).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_header_is_damaged_is_settled_where_the_database_has_its_cursor() {
    let rig = with_orders().await;
    let log = dead_log(&rig, vec![notified(1)]).await;
    let mut bytes = std::fs::read(&log[0]).unwrap();
    bytes[12] ^= 1;
    std::fs::write(&log[0], bytes).unwrap();
    let service = rig.run_all().await;
    said(&rig, "its header is damaged, and the database does not know it").await;
    assert!(service.terminate().await.success());
    assert!(log[0].exists(), "it stays");
    let db = rig.open_db().await;
    assert_eq!(rig.number(&db, LEDGER).await, 0);
    let cursor = "INSERT INTO intake_logs (log, folder, position, opened_at_ms) VALUES ($1, $2, 0, 1)";
    let at = folder(&rig).display().to_string();
    db.execute("test", cursor, [NAME.into(), at.into()]).await.unwrap();
    all_settle(&rig, 1).await;
    rig.leave_unfinished("two orders are not paid");
    rig.finish().await;
}

//! Which installations have a log: on SQLite with the embedded queue those that say nothing, or ask for one.

use std::process::Command;

use super::support::*;
use crate::harness::service::{Processes, TestService};

/// Two orders that were paid by notifications.
async fn settle_two(rig: &Processes, env: &[(&str, &str)]) {
    let service = rig.run_all_with(env).await;
    let orders = orders(2);
    place_and_pay(rig, &service.base, &orders).await;
    let db = rig.open_db().await;
    until_paid(rig, &db).await;
    rig.until_drained().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_on_sqlite_that_says_nothing_has_a_log() {
    let rig = TestService::embedded_sqlite().await.processes().await;
    settle_two(&rig, &[]).await;
    let db = rig.open_db().await;
    assert_eq!((rig.number(&db, CURSORS).await, rig.number(&db, QUEUED).await), (1, 0));
    assert!(rig.number(&db, SETTLED_BYTES).await > 0, "the cursor moved");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_says_direct_has_none_of_it() {
    let rig = TestService::embedded_sqlite().await.direct().processes().await;
    let service = rig.run_all().await;
    place_and_pay(&rig, &service.base, &orders(2)).await;
    let db = rig.open_db().await;
    until_paid(&rig, &db).await;
    rig.until_drained().await;
    assert_eq!((rig.number(&db, CURSORS).await, rig.number(&db, QUEUED).await), (0, 2));
    assert_eq!(rig.number(&db, "SELECT COUNT(*) FROM intake_database").await, 0);
    assert!(!folder(&rig).exists());
    let (_, ready) = rig.get(&service.base, "/readyz").await;
    assert!(!ready["checks"].to_string().contains("intake"), "{ready}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_on_a_server_has_none() {
    let rig = TestService::nats_sqlite().await.processes().await;
    settle_two(&rig, &[]).await;
    let db = rig.open_db().await;
    assert_eq!(rig.number(&db, CURSORS).await, 0);
    assert!(!folder(&rig).exists());
    rig.finish().await;
}

/// A folder below a file can be made by no one, whatever rights the user has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_log_can_be_made_an_installation_goes_on_by_the_queue_unless_it_asks_for_one() {
    let rig = TestService::embedded_sqlite().await.processes().await;
    let below = format!("{}/logs", database(&rig).display());
    let nowhere = ("WXPAY__SERVER__INTAKE_DIR", below.as_str());
    settle_two(&rig, &[nowhere]).await;
    said(&rig, "notifications go by the queue: no intake log can be made").await;
    let db = rig.open_db().await;
    assert_eq!((rig.number(&db, CURSORS).await, rig.number(&db, QUEUED).await), (0, 2));
    let mut asks = Command::new(env!("CARGO_BIN_EXE_wxpayd"));
    asks.args(["run", "--config"]).arg(rig.config_file()).env("WXPAY__SERVER__INTAKE", "log");
    let ended = asks.env(nowhere.0, nowhere.1).output().unwrap();
    assert!(!ended.status.success());
    assert!(String::from_utf8_lossy(&ended.stderr).contains("the intake log in"), "{ended:?}");
    rig.finish().await;
}

//! PostgreSQL ends every connection, again and again, while orders are placed and paid: what a restart of the server
//! looks like from the outside.

use std::time::Duration;

use sea_orm::{ConnectionTrait, Database};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::faults::load::{numbers, place_and_pay, place_at_last, readiness, until_paid};
use crate::faults::{audit, until};
use crate::harness::db::TestDb;
use crate::harness::service::{Processes, TestService};
use crate::harness::setting;

const ORDERS: usize = 40;

async fn administrate(sql: &str) {
    let admin = Database::connect(&setting("WXPAY_TEST_POSTGRES")).await.unwrap();
    admin.execute_unprepared(sql).await.unwrap();
    admin.close().await.unwrap();
}

/// Ends every connection to the database every 50 ms until cancelled; tells how many it ended.
async fn terminate_backends(name: String, cancel: CancellationToken) -> u64 {
    let admin = Database::connect(&setting("WXPAY_TEST_POSTGRES")).await.unwrap();
    let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    let mut ended = 0;
    while !cancel.is_cancelled() {
        let rows =
            admin.query_all_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql.clone())).await;
        ended += rows.unwrap().len() as u64;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ended
}

async fn survives_thrown_out(rig: Processes) {
    let TestDb::Postgres { name, .. } = &rig.db else { unreachable!("on PostgreSQL") };
    let service = rig.run_all().await;
    let orders = numbers(0..ORDERS);
    let cancel = CancellationToken::new();
    let terminating = tokio::spawn(terminate_backends(name.clone(), cancel.clone()));
    // Long enough for more failed tries of one message than a message has attempts.
    tokio::join!(place_and_pay(&rig, &service.base, &orders), async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        cancel.cancel();
    });
    let ended = terminating.await.unwrap();
    assert!(ended > 20, "only {ended} connections were ended");
    until_paid(&rig, &service.base, &orders).await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &service.base, &orders).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_ends_every_connection_costs_time_and_no_payment_on_nats() {
    survives_thrown_out(TestService::nats_postgres().await.processes().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_ends_every_connection_costs_time_and_no_payment_on_the_embedded_bus() {
    survives_thrown_out(TestService::embedded_postgres().await.processes().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_connected_to_a_database_without_writes_says_so_and_soon_connects_anew() {
    let rig = TestService::nats_postgres().await.processes().await;
    let TestDb::Postgres { name, .. } = &rig.db else { unreachable!("on PostgreSQL") };
    let service = rig.run_all().await;
    let sound = (200, json!({"name": "database", "ok": true, "reason": null}));
    until("a sound database", || async { (readiness(&rig, &service.base, "database").await == sound).then_some(()) })
        .await;
    // As after a switchover: the old primary answers, and every connection to it refuses to write.
    administrate(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    administrate(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
    let check = until("the notice", || async {
        let (status, check) = readiness(&rig, &service.base, "database").await;
        (status == 503).then_some(check).filter(|check| check["reason"].as_str().unwrap().contains("takes no writes"))
    });
    assert_eq!(check.await["ok"], false);
    // A new connection finds one that takes writes. The open connections are not ended.
    administrate(&format!("ALTER DATABASE {name} RESET default_transaction_read_only")).await;
    let admin = Database::connect(&setting("WXPAY_TEST_POSTGRES")).await.unwrap();
    let texts = async |sql: String| {
        let rows =
            admin.query_all_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql)).await.unwrap();
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect::<Vec<String>>()
    };
    let reset_at = texts("SELECT clock_timestamp()::text".into()).await.pop().unwrap();
    let old = format!(
        "SELECT pid::text FROM pg_stat_activity WHERE datname = '{name}' AND backend_start < '{reset_at}'::timestamptz"
    );
    until("new connections", || async { texts(old.clone()).await.is_empty().then_some(()) }).await;
    until("ready", || async { (readiness(&rig, &service.base, "database").await.0 == 200).then_some(()) }).await;
    place_at_last(&rig, &service.base, "A800001", 100).await;
    rig.pay("A800001").await;
    rig.until_state(&service.base, "A800001", "paid").await;
    rig.finish().await;
}

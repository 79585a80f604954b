//! PostgreSQL throws everybody out, again and again, while orders are placed and paid: what a restart of the server looks like from
//! the outside.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::audit::{self, Orders};
use super::until;
use crate::harness::db::TestDb;
use crate::harness::service::{Rig, jsapi};
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

async fn survives_thrown_out(rig: Rig) {
    let TestDb::Postgres { name, .. } = &rig.db else { unreachable!("on PostgreSQL") };
    let service = rig.run_all().await;
    let orders: Orders = (0..ORDERS).map(|n| (format!("A{n:06}"), 100 + i64::try_from(n).unwrap())).collect();
    let cancel = CancellationToken::new();
    let terminating = tokio::spawn(terminate_backends(name.clone(), cancel.clone()));
    let paying = stream::iter(&orders).map(|(order_no, amount_fen)| {
        let (rig, service) = (&rig, &service);
        async move {
            until(&format!("pay parameters of {order_no}"), || async {
                let (status, answer) =
                    rig.try_post(&service.base, "/v1/orders", &jsapi(order_no, *amount_fen)).await.ok()?;
                assert!([200, 202, 503].contains(&status), "{status} {answer}");
                (status == 200).then_some(())
            })
            .await;
            rig.pay(order_no).await;
        }
    });
    let load = paying.buffer_unordered(4).collect::<Vec<()>>();
    // Long enough for more failed tries of one message than a message has attempts.
    tokio::join!(load, async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        cancel.cancel();
    });
    let ended = terminating.await.unwrap();
    assert!(ended > 20, "only {ended} connections were ended");
    for order_no in orders.keys() {
        until(&format!("{order_no} paid"), || async {
            let (status, order) =
                rig.try_get(&service.base, &format!("/v1/orders/{order_no}?merchant=main")).await.ok()?;
            (status == 200 && order["state"] == "paid").then_some(())
        })
        .await;
    }
    rig.until_drained().await;
    audit::all_paid_once(&rig, &service.base, &orders, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_ends_every_connection_costs_time_and_no_payment_on_nats() {
    survives_thrown_out(Rig::nats_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_ends_every_connection_costs_time_and_no_payment_on_the_embedded_bus() {
    survives_thrown_out(Rig::embedded_postgres().await).await;
}

/// What `/readyz` says of the database.
async fn database_check(rig: &Rig, base: &str) -> (u16, Value) {
    let (status, ready) = rig.get(base, "/readyz").await;
    let check = ready["checks"].as_array().unwrap().iter().find(|check| check["name"] == "database").unwrap().clone();
    (status, check)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_connected_to_a_database_without_writes_says_so_and_soon_connects_anew() {
    let rig = Rig::nats_postgres().await;
    let TestDb::Postgres { name, .. } = &rig.db else { unreachable!("on PostgreSQL") };
    let service = rig.run_all().await;
    assert_eq!(
        database_check(&rig, &service.base).await,
        (200, json!({"name": "database", "ok": true, "reason": null}))
    );
    // As after a switchover: the old primary answers, and every connection to it refuses to write.
    administrate(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    administrate(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
    let check = until("the notice", || async {
        let (status, check) = database_check(&rig, &service.base).await;
        (status == 503).then_some(check).filter(|check| check["reason"].as_str().unwrap().contains("takes no writes"))
    });
    assert_eq!(check.await["ok"], false);
    // Whoever connects anew finds one that takes writes. Nobody ends the connections that there are.
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
    until("ready", || async { (database_check(&rig, &service.base).await.0 == 200).then_some(()) }).await;
    until("pay parameters", || async {
        let answer = rig.try_post(&service.base, "/v1/orders", &jsapi("A800001", 100)).await;
        (answer.ok()?.0 == 200).then_some(())
    })
    .await;
    rig.pay("A800001").await;
    rig.until_state(&service.base, "A800001", "paid").await;
}

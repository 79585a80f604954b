//! How old the list of keys is, and that requests do not delay it.

use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DbBackend, Statement};
use serde_json::Value;
use wxpay_worker::store::Store;

use crate::harness::db::TestDb;
use crate::harness::service::{InProcess, TestService};

impl InProcess {
    /// The check of the list; the process stays ready.
    async fn keys_check(&self) -> Value {
        let ready = self.ready().await;
        let checks = ready["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == "api_keys").unwrap_or_else(|| panic!("{ready}")).clone()
    }

    async fn rename(&self, from: &str, to: &str) {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        self.store.db().execute("test", sql, []).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_could_not_be_read_for_two_minutes_is_reported_until_it_is_read() {
    let service = TestService::new().in_process().await;
    service.found("a list", || async { (service.keys_check().await["ok"] == true).then_some(()) }).await;
    service.rename("revoked_api_keys", "away").await;
    service.skip(3600);
    service.found("an old list", || async { (service.keys_check().await["ok"] == false).then_some(()) }).await;
    // A reading that had begun before may have ended after.
    service.skip(3600);
    let check = service.keys_check().await;
    assert!(check["ok"] == false && check["reason"].as_str().unwrap().contains("revoked since"), "{check}");
    service.rename("away", "revoked_api_keys").await;
    service.found("a fresh list", || async { (service.keys_check().await["ok"] == true).then_some(()) }).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_that_take_every_connection_do_not_delay_the_list_of_keys() {
    let db = TestDb::postgres().await;
    let settings = wxpay_worker::config::Store { max_connections: 3, ..db.settings() };
    let store = Store::new(wxpay_worker::store::Db::connect(&settings).await.unwrap());
    let holder = Database::connect(ConnectOptions::new(db.url()).max_connections(1).to_owned()).await.unwrap();
    let statement = |sql: &str| Statement::from_string(DbBackend::Postgres, sql.to_owned());
    holder.execute_raw(statement("SELECT pg_advisory_lock(42)")).await.unwrap();
    let flood: Vec<_> = (0..2)
        .map(|_| {
            let (store, wait) = (
                store.clone(),
                statement("SELECT set_config('lock_timeout', '0', true), pg_advisory_xact_lock_shared(42)"),
            );
            tokio::spawn(async move { store.db().read().query_one_raw(wait).await })
        })
        .collect();
    // Of this database: the server is that of other tests, too.
    let waiting = statement(
        "SELECT COUNT(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    crate::harness::within_timeout("the flood", async {
        while holder.query_one_raw(waiting.clone()).await.unwrap().unwrap().try_get::<i64>("", "n").unwrap() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    store.api_key_counts().await.unwrap();
    store.revoked_hashes().await.unwrap();
    holder.execute_raw(statement("SELECT pg_advisory_unlock(42)")).await.unwrap();
    for read in flood {
        let _ = read.await;
    }
}

//! The schema while two versions run side by side.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait};
use wxpay_worker::config;
use wxpay_worker::secret::Secret;
use wxpay_worker::store::Db;

use crate::harness::db::TestDb;
use crate::harness::store::TestStore;
use crate::harness::within_timeout;

on_both_databases! {
    async fn a_process_starts_on_the_schema_of_a_later_version(stage) {
        let later = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29991231_000001_later', 0)";
        stage.execute(later).await.unwrap();
        assert!(!stage.store.db().migrate().await.unwrap(), "nothing is missing");
        assert_eq!(stage.count("seaql_migrations WHERE version LIKE 'm2999%'").await, 1);
    }

    async fn a_missing_step_is_applied(stage) {
        stage.execute("DROP TABLE call_rates").await.unwrap();
        stage.execute("DELETE FROM seaql_migrations WHERE version LIKE '%call_rates'").await.unwrap();
        assert!(stage.store.db().migrate().await.unwrap());
        assert_eq!(stage.count("call_rates").await, 0);
    }
}

/// A writer of the version before keeps its table for longer than a step waits: the others go on meanwhile, and the
/// step is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_waits_for_a_table_does_not_keep_its_writers_waiting() {
    let stage = TestStore::open(TestDb::postgres().await).await;
    for sql in [
        "ALTER TABLE refund_evidence DROP COLUMN state",
        "ALTER TABLE evidence DROP COLUMN state, DROP COLUMN took_ms",
        "DROP TABLE calls",
        "DROP INDEX orders_listed; DROP INDEX orders_flagged; DROP INDEX outbox_order",
        "DELETE FROM seaql_migrations WHERE version LIKE '%_history'",
    ] {
        for statement in sql.split(';') {
            stage.execute(statement).await.unwrap();
        }
    }
    let writer = sea_orm::Database::connect(stage.db.url()).await.unwrap();
    let held = writer.begin().await.unwrap();
    held.execute_unprepared("LOCK TABLE evidence IN ROW EXCLUSIVE MODE").await.unwrap();
    let settings = stage.db.settings();
    let migrating = tokio::spawn(async move { Db::connect(&settings).await?.migrate().await });
    let waiting = "pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted AND relation = 'evidence'::regclass";
    within_timeout("a step that waits", async {
        while stage.count(waiting).await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // Behind the step that waits; while the first one still holds the table.
    let other = writer.begin().await.unwrap();
    other
        .execute_unprepared("SET LOCAL lock_timeout = '30s'; LOCK TABLE evidence IN ROW EXCLUSIVE MODE")
        .await
        .unwrap();
    assert!(!migrating.is_finished());
    other.commit().await.unwrap();
    held.commit().await.unwrap();
    assert!(within_timeout("the step", migrating).await.unwrap().unwrap());
    assert_eq!(stage.count("calls").await, 0);
}

/// SQLite would make a table in memory for each list of values, each time such a statement runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checks_of_a_file_need_no_table_in_memory_and_refuse_what_they_refused() {
    let stage = TestStore::open(TestDb::sqlite()).await;
    let file = sea_orm::Database::connect(stage.db.url()).await.unwrap();
    for statement in [
        "INSERT INTO orders DEFAULT VALUES",
        "INSERT INTO attempts DEFAULT VALUES",
        "INSERT INTO evidence DEFAULT VALUES",
        "INSERT INTO payments DEFAULT VALUES",
        "INSERT INTO ledger DEFAULT VALUES",
        "UPDATE orders SET state = 'paid', version = 2 WHERE id = 1",
        "UPDATE attempts SET state = 'paid' WHERE merchant = 'a' AND out_trade_no = 'b'",
    ] {
        let explain = Statement::from_string(DbBackend::Sqlite, format!("EXPLAIN {statement}"));
        let steps = file.query_all_raw(explain).await.unwrap();
        let steps: Vec<String> = steps.iter().map(|step| step.try_get("", "opcode").unwrap()).collect();
        assert!(steps.iter().any(|step| step == "OpenWrite"), "{statement}: {steps:?}");
        assert!(!steps.iter().any(|step| step == "OpenEphemeral"), "{statement}: {steps:?}");
    }
    let payment = |class: &str| {
        format!(
            "INSERT INTO payments (merchant, transaction_id, version, class, out_trade_no, mch_id, appid, amount_fen,
               currency, paid_at_ms, recorded_at_ms, updated_at_ms)
             VALUES ('m', 't-{class}', 1, '{class}', 'n', '1', 'wx1', 1, 'CNY', 0, 0, 0)"
        )
    };
    stage.execute(&payment("unmatched")).await.unwrap();
    let refused = stage.execute(&payment("lost")).await.unwrap_err().to_string();
    assert!(refused.contains("CHECK constraint failed: (class = 'credited' OR class = 'held'"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_and_its_folder_are_for_this_user_alone() {
    let above = tempfile::TempDir::new().unwrap();
    let folder = above.path().join("var/wxpay");
    let url = Secret::new(format!("sqlite://{}/wxpay.db", folder.display()));
    let db = Db::connect(&config::Store { url, ..TestDb::empty_sqlite().settings() }).await.unwrap();
    db.migrate().await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&above.path().join("var"))), (0o700, 0o700));
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 2, "the file and its log: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{file:?}");
    }
}

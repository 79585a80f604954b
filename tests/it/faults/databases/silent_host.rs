//! The host of PostgreSQL is lost without a word: no connection ends, none answers. New ones reach another host.

use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use tokio::task::JoinSet;
use wxpay_worker::config;
use wxpay_worker::secret::Secret;
use wxpay_worker::store::{Db, DbError};

use crate::harness::cable::Cable;
use crate::harness::db::TestDb;
use crate::harness::within_timeout;

/// Instead of a minute.
const DEADLINE: Duration = Duration::from_secs(4);
/// Of the 8 connections of the tests' pool, one of which is reserved.
const WRITES: i64 = 5;
const READS: i64 = 2;

async fn sessions(other: &DatabaseConnection, that: &str) -> i64 {
    let sql = format!(
        "SELECT COUNT(*) AS n FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'wxpay-worker' AND {that}"
    );
    let row = other.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
    row.unwrap().unwrap().try_get("", "n").unwrap()
}

async fn read(db: &Db, sql: &str) -> Result<(), DbError> {
    Ok(db.read().query_all_raw(db.statement(sql, [])).await.map(drop)?)
}

/// Whether as many as there are connections may use one at once: two after the other would reach the deadline.
async fn has_every_connection(db: &Db) -> bool {
    let mut uses = JoinSet::new();
    for _ in 0..WRITES + 1 {
        let db = db.clone();
        uses.spawn(async move { db.execute("test", "SELECT pg_sleep(2.5)", []).await.map(drop) });
    }
    let db = db.clone();
    uses.spawn(async move { read(&db, "SELECT pg_sleep(2.5)").await });
    uses.join_all().await.iter().all(Result::is_ok)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_lost_without_a_word_costs_the_deadline_and_no_connection_of_the_pool() {
    let test_db = TestDb::postgres().await;
    let url = test_db.url();
    let (user, rest) = url.split_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let cable = Cable::to(server).await;
    let through = Secret::new(format!("{user}@{}/{name}", cable.address()));
    let settings = config::Store { url: through, ..test_db.settings() };
    let db = Db::connect_within(&settings, DEADLINE).await.unwrap();
    let insert = "INSERT INTO leases (name, holder, term, expires_at_ms) VALUES ('slow', 'test', 0, 0)";
    db.execute("test", insert, []).await.unwrap();
    let other = Database::connect(test_db.url()).await.unwrap();
    let lock = other.begin().await.unwrap();
    lock.execute_unprepared("SELECT * FROM leases WHERE name = 'slow' FOR UPDATE").await.unwrap();
    let mut writes = JoinSet::new();
    for _ in 0..WRITES {
        let db = db.clone();
        let sql = "UPDATE leases SET term = term + 1 WHERE name = 'slow'";
        writes.spawn(async move { db.execute("test", sql, []).await });
    }
    let reading =
        [db.clone(), db.clone()].map(|db| tokio::spawn(async move { read(&db, "SELECT pg_sleep(14)").await }));
    within_timeout("writes and reads under way", async {
        while sessions(&other, "wait_event_type = 'Lock'").await < WRITES
            || sessions(&other, "wait_event = 'PgSleep'").await < READS
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    cable.silence();
    // What the host had begun is gone with it.
    let lost = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'wxpay-worker'";
    other.execute_unprepared(lost).await.unwrap();
    lock.rollback().await.unwrap();
    let [gone, waiting] = reading;
    // Its caller goes away before the deadline.
    gone.abort();
    let writes = within_timeout("an end of the writes", writes.join_all()).await;
    assert!(writes.iter().all(|end| matches!(end, Err(DbError::Unavailable(_)))), "not known: {writes:?}");
    let waited = within_timeout("an end of the read", waiting).await.unwrap();
    assert!(matches!(waited, Err(DbError::Unavailable(_))), "{waited:?}");
    within_timeout("every connection again", async { while !has_every_connection(&db).await {} }).await;
    db.execute("test", "UPDATE leases SET term = term + 1 WHERE name = 'slow'", []).await.unwrap();
    let term = "SELECT CAST(1 AS BIGINT) AS one FROM leases WHERE name = 'slow' AND term = 1";
    let found = db.read().query_all_raw(db.statement(term, [])).await.unwrap();
    assert_eq!(found.len(), 1, "what was given up was not written");
}

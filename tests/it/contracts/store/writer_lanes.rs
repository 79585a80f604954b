//! Slow writes on PostgreSQL leave connections of the pool to reads.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, TransactionTrait};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use wxpay_worker::store::{Db, DbError, Store};

use crate::harness::db::TestDb;
use crate::harness::sql::number;
use crate::harness::within_timeout;

/// More than the pool has connections.
const WRITES: i64 = 40;
/// Of the 8 connections of the tests' pool.
const LANES: i64 = 6;

async fn sessions_that_wait(other: &DatabaseConnection) -> i64 {
    let sql = "SELECT COUNT(*) AS n FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let row = other.query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql)).await;
    row.unwrap().unwrap().try_get("", "n").unwrap()
}

/// A busy machine may keep the lock, or the other lanes, for longer than a write waits: it is handed in again.
async fn write(db: Db) {
    while let Err(error) = db.execute("test", "UPDATE leases SET term = term + 1 WHERE name = 'slow'", []).await {
        assert!(matches!(error, DbError::Unavailable(_)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_slow_writes_leaves_connections_to_reads() {
    let test_db = TestDb::postgres().await;
    let db = test_db.open().await;
    let insert = "INSERT INTO leases (name, holder, term, expires_at_ms) VALUES ('slow', 'test', 0, 0)";
    db.execute("test", insert, []).await.unwrap();
    let other = Database::connect(test_db.url()).await.unwrap();
    let lock = other.begin().await.unwrap();
    lock.execute_unprepared("SELECT * FROM leases WHERE name = 'slow' FOR UPDATE").await.unwrap();
    let mut writes = JoinSet::new();
    for _ in 0..WRITES {
        writes.spawn(write(db.clone()));
    }
    within_timeout("the writes at the lock", async {
        while sessions_that_wait(&other).await < LANES {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for _ in 0..10 {
        // It fails where there is no connection for it within five seconds.
        assert_eq!(number(&db, "SELECT term FROM leases WHERE name = 'slow'").await, 0);
        assert!(sessions_that_wait(&other).await <= LANES, "no more of them than lanes");
    }
    lock.commit().await.unwrap();
    assert_eq!(writes.join_all().await.len(), 40);
    assert_eq!(number(&db, "SELECT term FROM leases WHERE name = 'slow'").await, WRITES, "each is done once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_gets_no_lane_is_unavailable_within_the_time_of_a_read() {
    let test_db = TestDb::postgres().await;
    let db = test_db.open().await;
    let mut held = JoinSet::new();
    let gate = Arc::new(Semaphore::new(0));
    let (entered, mut busy) = mpsc::unbounded_channel();
    for _ in 0..LANES {
        let (db, signals) = (db.clone(), (entered.clone(), Arc::clone(&gate)));
        held.spawn(async move {
            let slow = db.write("test", signals, |_, (entered, gate)| {
                Box::pin(async move {
                    let _ = entered.send(());
                    gate.acquire().await.unwrap().forget();
                    Ok::<(), DbError>(())
                })
            });
            slow.await
        });
    }
    for _ in 0..LANES {
        within_timeout("a busy lane", busy.recv()).await.unwrap();
    }
    let begun = std::time::Instant::now();
    // No lane becomes free.
    let refused = within_timeout("the refusal", db.execute("test", "UPDATE leases SET term = 9", [])).await;
    let waited = begun.elapsed();
    assert!(matches!(refused, Err(DbError::Unavailable(_))), "{refused:?}");
    assert!(waited >= Duration::from_secs(4), "{waited:?}");
    assert_eq!(number(&db, "SELECT COUNT(*) FROM leases").await, 0, "reads go on");
    gate.add_permits(usize::try_from(LANES).unwrap());
    held.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_opens_no_more_connections_than_its_settings_say_and_works_with_two() {
    let test_db = TestDb::postgres().await;
    let settings = wxpay_worker::config::Store { max_connections: 2, ..test_db.settings() };
    let store = Store::new(Db::connect(&settings).await.unwrap());
    let db = store.db();
    let insert = "INSERT INTO leases (name, holder, term, expires_at_ms) VALUES ('slow', 'test', 0, 0)";
    db.execute("test", insert, []).await.unwrap();
    // No more at once than have the one connection soon, on a busy machine too.
    for _ in 0..2 {
        let mut work = JoinSet::new();
        for _ in 0..4 {
            work.spawn(write(db.clone()));
            let store = store.clone();
            // The reserved connection, beside reads that take every other one.
            work.spawn(async move {
                let sleep = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, "SELECT pg_sleep(0.05)");
                let (slept, hashes) = tokio::join!(store.db().read().query_one_raw(sleep), store.revoked_hashes());
                slept.unwrap();
                hashes.unwrap();
            });
        }
        assert_eq!(work.join_all().await.len(), 8);
    }
    let other = Database::connect(test_db.url()).await.unwrap();
    // Connections that were opened stay open.
    let sql = "SELECT COUNT(*) AS n FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'wxpay-worker'";
    let row = other.query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql)).await;
    assert_eq!(row.unwrap().unwrap().try_get::<i64>("", "n").unwrap(), 2);
    assert_eq!(number(db, "SELECT term FROM leases WHERE name = 'slow'").await, 8);
}

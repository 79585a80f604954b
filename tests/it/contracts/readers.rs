//! Readers of SQLite: a few stay open, and reads that take long hold up no other.

use std::thread::available_parallelism;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join;
use sea_orm::ConnectionTrait;
use wxpay_worker::config;
use wxpay_worker::store::Db;

use crate::harness::db::{TestDb, connected};
use crate::harness::within_timeout;

/// More work than the time between a read and the first question for its answer.
const LONG: &str = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 200000)
                    SELECT COUNT(*) AS n FROM numbers";
const SHORT: &str = "SELECT 1 AS n";

async fn read(db: &Db, sql: &str) -> i64 {
    db.read().query_one_raw(db.statement(sql, [])).await.unwrap().unwrap().try_get("", "n").unwrap()
}

/// With two readers more than stay open; and how many do.
async fn with_two_spare(test_db: &TestDb) -> (Db, usize) {
    let kept = available_parallelism().unwrap().get().max(4);
    let max_connections = u32::try_from(kept + 2).unwrap();
    (connected(&config::Store { max_connections, ..test_db.settings() }).await, kept)
}

#[tokio::test]
async fn reads_one_after_the_other_open_no_spare_reader() {
    let test_db = TestDb::sqlite();
    let (db, kept) = with_two_spare(&test_db).await;
    // The driver asks the version of SQLite on one.
    let at_first = db.read().spare_open();
    assert!(at_first <= 1);
    for _ in 0..2 * kept {
        assert_eq!(read(&db, SHORT).await, 1);
    }
    assert!(db.read().spare_open() <= at_first);
}

#[tokio::test]
async fn where_every_reader_is_busy_spare_ones_are_opened() {
    let test_db = TestDb::sqlite();
    let (db, kept) = with_two_spare(&test_db).await;
    let mut busy: Vec<_> = (0..kept).map(|_| Box::pin(read(&db, LONG))).collect();
    // Each has its reader from the first poll on, and keeps it while it is not polled.
    for long in &mut busy {
        assert!(long.now_or_never().is_none());
    }
    assert!(db.read().spare_open() <= 1);
    let both = within_timeout("reads beside them", join(read(&db, LONG), read(&db, LONG))).await;
    assert_eq!(both, (200_000, 200_000));
    assert_eq!(db.read().spare_open(), 2);
    assert_eq!(within_timeout("a short read beside them", read(&db, SHORT)).await, 1);
    within_timeout("the health beside them", db.ping()).await.unwrap();
    for long in busy {
        assert_eq!(within_timeout("a long read", long).await, 200_000);
    }
}

#[tokio::test]
async fn a_read_that_found_all_of_them_busy_takes_the_first_that_becomes_free() {
    let test_db = TestDb::sqlite();
    let (db, kept) = with_two_spare(&test_db).await;
    let mut busy: Vec<_> = (0..kept + 2).map(|_| Box::pin(read(&db, LONG))).collect();
    for (n, long) in busy.iter_mut().enumerate() {
        // A spare one is taken some time after the first poll.
        let free_after = (kept + 1 - n).min(2);
        within_timeout("a reader that is taken", async {
            while long.now_or_never().is_none() && db.read().spare_free() > free_after {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    assert_eq!(db.read().spare_free(), 0);
    let mut short = Box::pin(read(&db, SHORT));
    assert!(short.as_mut().now_or_never().is_none());
    // Until it waits for spare ones, too.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(short.as_mut().now_or_never().is_none());
    assert_eq!(within_timeout("a long read", busy.remove(0)).await, 200_000);
    assert_eq!(within_timeout("a read in its place", short).await, 1);
}

//! The one writer: what shares a transaction, and what does not share its end.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, NotSet, Set};
use wxpay_worker::store::entity::login_code;
use wxpay_worker::store::{Db, DbError, WriteTx, Writing};

use crate::harness::db::TestDb;
use crate::harness::sql::number;
use crate::harness::within_timeout;

async fn insert(tx: &WriteTx, key: &str) -> Result<(), DbError> {
    let sql = "INSERT INTO leases (name, holder, term, expires_at_ms) VALUES ($1, 'test', 1, 0)";
    tx.execute(sql, [key.into()]).await.map(drop)
}

async fn write(db: &Db, key: &str) -> Result<(), DbError> {
    db.write("test", key.to_owned(), |tx, key| Box::pin(insert(tx, key))).await
}

async fn keys(db: &Db) -> Vec<String> {
    let rows = db.read().query_all_raw(db.statement("SELECT name FROM leases ORDER BY name", [])).await.unwrap();
    rows.iter().map(|row| row.try_get("", "name").unwrap()).collect()
}

/// Another process's write: whatever is handed in meanwhile waits, and shares a transaction afterwards.
fn lock(db: &TestDb) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(db.url().trim_start_matches("sqlite://")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

fn code(hash: &str) -> login_code::ActiveModel {
    login_code::ActiveModel {
        code_hash: Set(hash.into()),
        app: Set("shop".into()),
        state_hash: Set(hash.into()),
        claimed_at_ms: Set(1),
        is_snapshot: Set(false),
        ..Default::default()
    }
}

async fn insert_codes(db: &Db, codes: Vec<login_code::ActiveModel>) -> Result<u64, DbError> {
    db.write("test", codes, |tx, codes| Box::pin(tx.insert_all(codes.clone(), None))).await
}

async fn rows_of_one_insertion_set_the_same_columns(db: Db) {
    assert_eq!(insert_codes(&db, vec![code("a"), code("b")]).await.unwrap(), 2);
    // As many values as the first one, and one of them for another column.
    let other = login_code::ActiveModel { state_hash: NotSet, finished_at_ms: Set(Some(2)), ..code("d") };
    let refused = insert_codes(&db, vec![code("c"), other]).await;
    assert!(matches!(refused, Err(DbError::Defect(_))), "{refused:?}");
    assert_eq!(number(&db, "SELECT COUNT(*) FROM login_codes").await, 2, "nothing of it was written");
}

#[tokio::test]
async fn rows_of_one_insertion_set_the_same_columns_on_sqlite() {
    let test_db = TestDb::sqlite();
    rows_of_one_insertion_set_the_same_columns(test_db.open().await).await;
}

#[tokio::test]
async fn rows_of_one_insertion_set_the_same_columns_on_postgres() {
    let test_db = TestDb::postgres().await;
    rows_of_one_insertion_set_the_same_columns(test_db.open().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writes_that_share_a_transaction_one_that_fails_is_rolled_back_alone() {
    let test_db = TestDb::sqlite();
    let db = test_db.open().await;
    let other = lock(&test_db);
    let names = ["a", "b", "a", "c"];
    let writes = join_all(names.iter().map(|key| write(&db, key)));
    let half = db.write("test", (), |tx, ()| {
        Box::pin(async move {
            insert(tx, "half").await?;
            Err::<(), _>(DbError::Defect("second thoughts".into()))
        })
    });
    let free = async { drop(other) };
    let (written, half, ()) = tokio::join!(writes, half, free);
    assert!(matches!(written[..], [Ok(()), Ok(()), Err(DbError::Exists(_)), Ok(())]), "{written:?}");
    assert!(matches!(half, Err(DbError::Defect(_))), "{half:?}");
    assert_eq!(keys(&db).await, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_the_database_ends_is_reported_to_all_of_it_and_the_next_one_works() {
    let test_db = TestDb::sqlite();
    let db = test_db.open().await;
    // The first one holds the writer's thread; the others queue up behind it and share the next transaction.
    let gates = Arc::new((Barrier::new(2), Barrier::new(2)));
    let first = tokio::spawn({
        let (db, gates) = (db.clone(), Arc::clone(&gates));
        async move {
            let write = db.write("test", gates, |tx, gates| {
                gates.0.wait();
                gates.1.wait();
                Box::pin(insert(tx, "first"))
            });
            write.await
        }
    });
    let begun = Arc::clone(&gates);
    within_timeout("the first one", tokio::task::spawn_blocking(move || begun.0.wait())).await.unwrap();
    let ends = db.write("test", (), |tx, ()| {
        Box::pin(async move {
            insert(tx, "lost").await?;
            // As SQLite does by itself when the disk is full.
            tx.execute_unprepared("ROLLBACK").await.map(drop)
        })
    });
    let free = async { gates.1.wait() };
    let (before, ends, after, _) = tokio::join!(write(&db, "before"), ends, write(&db, "after"), free);
    first.await.unwrap().unwrap();
    for outcome in [before, ends, after] {
        assert!(matches!(outcome, Err(DbError::Unavailable(_))), "{outcome:?}");
    }
    assert_eq!(keys(&db).await, ["first"]);
    write(&db, "again").await.unwrap();
    assert_eq!(keys(&db).await, ["again", "first"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_panics_fails_alone_and_one_whose_caller_left_is_done() {
    let test_db = TestDb::sqlite();
    let db = test_db.open().await;
    let other = lock(&test_db);
    let mut left = Box::pin(write(&db, "left"));
    assert!(futures_util::poll!(&mut left).is_pending(), "another process has the lock");
    drop(left);
    drop(other);
    panics_alone(&db).await;
    write(&db, "stayed").await.unwrap();
    assert_eq!(keys(&db).await, ["left", "stayed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_panics_on_postgres_fails_alone() {
    let test_db = TestDb::postgres().await;
    let db = test_db.open().await;
    panics_alone(&db).await;
    write(&db, "stayed").await.unwrap();
    assert_eq!(keys(&db).await, ["stayed"]);
}

/// A defect in a write, and one before its first statement.
async fn panics_alone(db: &Db) {
    let panics = db.write("test", (), |_, ()| Box::pin(async { Err::<(), _>(panicking()) })).await;
    assert!(matches!(panics, Err(DbError::Defect(_))), "{panics:?}");
    let panics = db.write("test", (), panicking_at_once).await;
    assert!(matches!(panics, Err(DbError::Defect(_))), "{panics:?}");
}

fn panicking() -> DbError {
    panic!("a defect in a write")
}

fn panicking_at_once<'a>(_: &'a WriteTx, (): &'a ()) -> Writing<'a, ()> {
    panic!("a defect in a write")
}

/// The shortest of some waits: a busy machine may hold a process up at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_waits_for_another_process_begins_soon_after_its_end() {
    // SQLite's own pauses have grown to a tenth of a second by then.
    const HELD: Duration = Duration::from_millis(260);
    let test_db = TestDb::sqlite();
    let db = test_db.open().await;
    let mut shortest = Duration::MAX;
    for _ in 0..10 {
        let other = lock(&test_db);
        let released = async {
            tokio::time::sleep(HELD).await;
            other.execute_batch("ROLLBACK").unwrap();
            Instant::now()
        };
        let waits = db.write("test", (), |_, ()| Box::pin(async { Ok(Instant::now()) }));
        let (begun, released) = tokio::join!(waits, released);
        shortest = shortest.min(begun.unwrap().saturating_duration_since(released));
    }
    assert!(shortest < Duration::from_millis(25), "{shortest:?}");
}

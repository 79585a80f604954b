//! Positions in the feed on PostgreSQL: given in the commit of the event where no other transaction gives some, and
//! later where one does; a reader never finds an event behind its cursor.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use wxpay_worker::store::{FEED_LOCK, Fenced, Lease, Store};

use super::store::jobs::closed;
use super::store::orders::NOW;
use crate::harness::db::TestDb;
use crate::harness::store::TestStore;
use crate::harness::within_timeout;

const LOCK: &str = "SELECT term FROM leases WHERE name = 'feed' FOR UPDATE";

async fn stage() -> (TestStore, Lease) {
    let stage = TestStore::open(TestDb::postgres().await).await;
    let lease = stage.store.lease("feed", "relay", Duration::from_secs(600)).await.unwrap().unwrap();
    (stage, lease)
}

async fn positions(store: &Store) -> Vec<(i64, String)> {
    let events = store.events_after(0, &[], None, 1000).await.unwrap();
    events.into_iter().map(|event| (event.position, event.event_id)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_has_its_position_with_its_commit_after_those_that_others_left() {
    let (stage, _lease) = stage().await;
    let first = stage.store.emit(closed(1), NOW).await.unwrap();
    assert_eq!(stage.store.feed_end().await.unwrap().position, 1);

    let other = Database::connect(stage.db.url()).await.unwrap();
    let lock = other.begin().await.unwrap();
    lock.execute_unprepared(LOCK).await.unwrap();
    let waits = within_timeout("an event beside the lock", stage.store.emit(closed(2), NOW)).await.unwrap();
    assert!(stage.store.has_unplaced_events().await.unwrap(), "two would give the same position");
    assert_eq!(positions(&stage.store).await.len(), 1);
    lock.commit().await.unwrap();

    let last = stage.store.emit(closed(2), NOW).await.unwrap();
    let expected = [first, waits, last].map(|event| event.id.to_string());
    assert_eq!(positions(&stage.store).await, (1..).zip(expected).collect::<Vec<_>>());
    let end = stage.store.feed_end().await.unwrap();
    assert_eq!((end.position, end.event_id), (3, positions(&stage.store).await.pop().map(|(_, id)| id)));
    assert_eq!(stage.count("feed WHERE last_position < 3").await, 1, "a commit leaves the feed's row as it is");
    stage.store.note_feed_end().await.unwrap();
    assert_eq!(stage.count("feed WHERE last_position = 3").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_stopped_while_it_gives_positions_loses_the_lock() {
    let (stage, lease) = stage().await;
    let beside_the_lock = async {
        loop {
            let (entered, goes_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (store, signals) = (stage.store.clone(), (Arc::clone(&entered), Arc::clone(&goes_on)));
            let stopped = tokio::spawn(async move {
                let write = store.db().write("test", signals, |tx, (entered, goes_on)| {
                    Box::pin(async move {
                        tx.execute_unprepared(FEED_LOCK).await?;
                        entered.notify_one();
                        goes_on.notified().await;
                        Ok(())
                    })
                });
                write.await
            });
            entered.notified().await;
            stage.store.emit(closed(1), NOW).await.unwrap();
            if stage.store.has_unplaced_events().await.unwrap() {
                return (stopped, goes_on);
            }
            // On a busy machine the lock was lost before the event was written.
            goes_on.notify_one();
            let _ = stopped.await.unwrap();
        }
    };
    let (stopped, goes_on) = within_timeout("an event beside the lock", beside_the_lock).await;
    // The relay waits for the lock, and has it before its own time for that ends.
    assert_eq!(stage.store.place_events(&lease, 10).await.unwrap(), Fenced::Done(1));
    goes_on.notify_one();
    assert!(stopped.await.unwrap().is_err(), "its transaction has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_left_is_placed_by_the_relay_and_an_event_waits_for_it() {
    let (stage, lease) = stage().await;
    stage.store.emit(closed(1), NOW).await.unwrap();
    let many = "INSERT INTO outbox (event_id, merchant, order_no, subject, event_type, payload, created_at_ms)
                SELECT 'left-' || n, merchant, order_no, subject, event_type, payload, created_at_ms
                FROM outbox CROSS JOIN generate_series(1, 600) AS s (n)";
    stage.execute(many).await.unwrap();
    stage.store.emit(closed(2), NOW).await.unwrap();
    assert_eq!(stage.store.feed_end().await.unwrap().position, 513, "a part of them, and not its own before the rest");
    assert_eq!(stage.count("outbox WHERE position IS NULL").await, 89);
    assert_eq!(stage.store.place_events(&lease, 1000).await.unwrap(), Fenced::Done(89));
    assert_eq!(stage.count("outbox WHERE position = 602 AND event_id NOT LIKE 'left-%'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_finds_each_event_once_while_writers_and_the_relay_give_positions() {
    const WRITERS: u32 = 6;
    const EACH: u32 = 40;
    let (stage, lease) = stage().await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Store::open(&stage.db.settings()).await.unwrap();
        writers.spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..EACH {
                ids.push(store.emit(closed(writer), NOW).await.unwrap().id.to_string());
            }
            ids
        });
    }
    let relay = stage.store.clone();
    let relay = tokio::spawn(async move {
        while let Fenced::Done(_) = relay.place_events(&lease, 3).await.unwrap() {
            tokio::task::yield_now().await;
        }
    });
    let all = usize::try_from(WRITERS * EACH).unwrap();
    let mut read: Vec<(i64, String)> = Vec::new();
    within_timeout("every event", async {
        while read.len() < all {
            let cursor = read.last().map_or(0, |(position, _)| *position);
            let events = stage.store.events_after(cursor, &[], None, 1000).await.unwrap();
            read.extend(events.into_iter().map(|event| (event.position, event.event_id)));
        }
    })
    .await;
    assert!(!relay.is_finished(), "it has the lease");
    relay.abort();
    assert_eq!(read, positions(&stage.store).await, "none appeared behind the cursor");
    assert_eq!(read.iter().map(|(position, _)| *position).collect::<Vec<_>>(), (1..=240).collect::<Vec<_>>());
    for ids in writers.join_all().await {
        let places: Vec<_> = ids.iter().map(|id| read.iter().position(|(_, of)| of == id)).collect();
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "in the order of the commits: {places:?}");
    }
}

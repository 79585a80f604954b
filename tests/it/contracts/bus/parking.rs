//! What the worker's parking does with texts and databases that do not fit together, on both databases.

use std::time::Duration;

use sea_orm::ConnectionTrait;
use wxpay_worker::bus::{ConsumerName, Deferred, Message, Parked, Parking, ParkingError};
use wxpay_worker::clock::{Clock, Timestamp};
use wxpay_worker::store::{DbError, Store, StoredMessage};
use wxpay_worker::worker::StoreParking;

use crate::harness::db::TestDb;

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

/// A message with NUL characters everywhere.
fn strange() -> Message {
    Message {
        headers: vec![("x-\0note".into(), "a\0b".into())],
        ..Message::new("pay.in.main.notify.rec\0eived", b"bytes \0 stay".to_vec())
    }
}

fn parked() -> Parked {
    Parked {
        message: strange(),
        consumer: ConsumerName::SETTLE,
        reason: "alien",
        first_error: "first\0".into(),
        last_error: "\0last".into(),
        attempts: 3,
        published_at: NOW,
    }
}

async fn what_has_nul_characters_is_kept_without_them(db: TestDb) {
    let db_handle = db.open().await;
    let store = Store::new(db_handle.clone());
    let parking = StoreParking::new(store.clone(), Clock::manual(NOW));
    parking.park(parked()).await.unwrap();
    assert_eq!(store.dead_letters_by_reason().await.unwrap(), [("alien".to_owned(), 1)]);
    let sql = "SELECT subject, headers, payload, first_error, last_error FROM dead_letters";
    let row = db_handle.read().query_one_raw(db_handle.statement(sql, [])).await.unwrap().unwrap();
    let text = |column: &str| row.try_get::<String>("", column).unwrap();
    assert_eq!(text("subject"), "pay.in.main.notify.received");
    assert_eq!(text("headers"), r#"[["x-note","ab"]]"#);
    assert_eq!((text("first_error"), text("last_error")), ("first".into(), "last".into()));
    assert_eq!(row.try_get::<Vec<u8>>("", "payload").unwrap(), b"bytes \0 stay");

    let deferred = Deferred {
        message: strange(),
        consumer: ConsumerName::SETTLE,
        attempts: 1,
        due_in: Duration::ZERO,
        why: "wh\0y".into(),
    };
    parking.defer(deferred).await.unwrap();
    let due = store.due_messages(NOW, 10).await.unwrap();
    assert_eq!((due[0].last_error.as_str(), due[0].payload.as_slice()), ("why", b"bytes \0 stay".as_slice()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_what_has_nul_characters_without_them() {
    what_has_nul_characters_is_kept_without_them(TestDb::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_what_has_nul_characters_without_them() {
    what_has_nul_characters_is_kept_without_them(TestDb::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_postgres_will_never_take_is_distinguished_from_trouble_with_it() {
    let db = TestDb::postgres().await;
    let store = Store::new(db.open().await);
    let stored = StoredMessage {
        event_id: "1".into(),
        consumer: "settle".into(),
        subject: "a\0b".into(),
        headers: Vec::new(),
        payload: Vec::new(),
        attempts: 1,
        first_error: String::new(),
        last_error: String::new(),
    };
    let refusal = store.defer(&stored, NOW, NOW).await.unwrap_err();
    assert!(matches!(refusal, DbError::Defect(_)), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_can_never_be_made_is_called_impossible() {
    let db = TestDb::postgres().await;
    let db_handle = db.open().await;
    let parking = StoreParking::new(Store::new(db_handle.clone()), Clock::manual(NOW));
    db_handle.execute("test", String::from("ALTER TABLE dead_letters ADD CHECK (attempts < 3)"), []).await.unwrap();
    let refusal = parking.park(parked()).await.unwrap_err();
    assert!(matches!(refusal, ParkingError::Impossible(_)), "{refusal:?}");
}

//! Waiting for an order costs no more than its mark until the order changes.

use std::time::Duration;

use serde_json::json;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::fact::{Fact, Prepay};
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::store::{StoredOrder, ToPlace};

use crate::contracts::{change, new_order, order_no};
use crate::harness::service::{API_KEY, TestService, answer, jsapi};
use crate::harness::store::{TestStore, commit};
use crate::settling::on_both;

const LEASE: Duration = Duration::from_secs(10);

fn merchant() -> MerchantKey {
    MerchantKey::parse("main").unwrap()
}

/// When the order of the test was made.
fn now() -> Timestamp {
    new_order(1, 100).created_at
}

async fn read(stage: &TestStore) -> StoredOrder {
    stage.store.order(&merchant(), &order_no(1)).await.unwrap().unwrap()
}

/// Whether its mark has who read the order so read it again.
async fn is_news(stage: &TestStore, seen: &StoredOrder) -> bool {
    let numbers = [order_no(1), order_no(2)];
    let marks = stage.store.order_marks(&merchant(), &numbers).await.unwrap();
    let [(number, mark)] = marks.as_slice() else { panic!("{marks:?}") };
    assert_eq!(*number, order_no(1));
    mark.is_newer_than(seen)
}

on_both! {
    async fn a_mark_shows_what_changes_of_an_order_and_beside_it(db: TestDb) {
        let stage = TestStore::open(db).await;
        assert!(stage.store.order_marks(&merchant(), &[order_no(1)]).await.unwrap().is_empty());
        let seen = stage.recorded(1).await;
        assert!(!is_news(&stage, &seen).await);
        let (merchant, order_no, requested_by) = (merchant(), order_no(1), seen.requested_by);
        let wanted = ToPlace { merchant, order_no, requested_by, lease: LEASE };
        stage.store.claim_to_place(vec![wanted], now()).await.unwrap();
        assert!(!is_news(&stage, &seen).await, "a claim is none");
        stage.store.query_answered(seen.order.id, now()).await.unwrap();
        assert!(is_news(&stage, &seen).await, "WeChat was asked");
        let seen = read(&stage).await;
        assert!(!is_news(&stage, &seen).await);
        stage.execute("UPDATE orders SET order_token = 'another'").await.unwrap();
        assert!(is_news(&stage, &seen).await, "its token opens nothing any more");
        let seen = read(&stage).await;
        let prepay = Prepay { prepay_id: "wx1".into(), code_url: None, mweb_url: None, issued_at: now() };
        let change = change(&seen, 1, Fact::PrepayIssued(prepay));
        assert!(commit(&stage.store, &[change], now()).await.unwrap().is_empty());
        assert!(is_news(&stage, &seen).await, "it changed");
        let newer = read(&stage).await;
        assert!(!is_news(&stage, &newer).await);
        let later = StoredOrder { order: wxpay_worker::order::Order { version: 9, ..newer.order.clone() }, ..newer };
        assert!(!is_news(&stage, &later).await, "what was read is newer");
    }
}

/// Its rows cannot be read from the beginning: nothing reads them until the order changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_has_not_changed_is_not_read_while_a_request_waits_for_it() {
    let service = TestService::embedded_sqlite().await.processes().await;
    let ingress = service.run_roles("ingress").await;
    let db = service.open_db().await;
    let run = async |sql: &str| {
        db.write("test", sql.to_owned(), |tx, sql| Box::pin(tx.execute_unprepared(sql))).await.unwrap();
    };
    run("CREATE TRIGGER unreadable AFTER INSERT ON attempts
         BEGIN UPDATE attempts SET params = params || '?' WHERE id = NEW.id; END")
    .await;
    let request = service.http.post(format!("{}/v1/orders", ingress.base)).bearer_auth(API_KEY);
    let request = request.header("prefer", "wait=1").header("content-type", "application/json");
    let (status, order) = answer(request.body(jsapi("A770101", 100).to_string())).await.unwrap();
    assert_eq!((status, &order["state"]), (202, &json!("requested")), "{order}");
    assert!(!service.logs().contains("unreadable"), "it was read");
    run("DROP TRIGGER unreadable").await;
    run("UPDATE attempts SET params = SUBSTR(params, 1, LENGTH(params) - 1)").await;
    let _workers = service.run_beside("worker,relay,scheduler", &[]).await;
    service.until_state(&ingress.base, "A770101", "payable").await;
    service.finish().await;
}

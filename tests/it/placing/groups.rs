//! Orders that wait for a worker together: loaded and claimed in one write.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use serde_json::json;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::{EventId, MerchantKey};
use wxpay_worker::store::{Db, NewOrder, PlacingClaim, StoredOrder, ToPlace};

use super::processes::LEASE as LONG_LEASE;
use crate::contracts::{new_order, order_no};
use crate::harness::db::TestDb;
use crate::harness::service::{API_KEY, TestService, answer, jsapi, signed_refusal};
use crate::harness::store::TestStore;
use crate::harness::within_timeout;
use crate::settling::on_both;

const LEASE: Duration = Duration::from_secs(10);

fn merchant() -> MerchantKey {
    MerchantKey::parse("main").unwrap()
}

/// When the orders of a test were made.
fn now() -> Timestamp {
    new_order(1, 100).created_at
}

fn to_place(n: u32, requested_by: EventId) -> ToPlace {
    ToPlace { merchant: merchant(), order_no: order_no(n), requested_by, lease: LEASE }
}

async fn read(stage: &TestStore, n: u32) -> StoredOrder {
    stage.store.order(&merchant(), &order_no(n)).await.unwrap().unwrap()
}

on_both! {
    async fn orders_are_loaded_and_claimed_together_each_by_what_it_is(db: TestDb) {
        let stage = TestStore::open(db).await;
        let mut wanted = Vec::new();
        for n in 1..=3 {
            stage.recorded(n).await;
            wanted.push(to_place(n, read(&stage, n).await.requested_by));
        }
        // Another process records and places this one.
        let new = NewOrder { placing_until: Some(now().after(LEASE)), ..new_order(4, 100) };
        stage.store.record_orders(&[new]).await.unwrap();
        wanted.push(to_place(4, read(&stage, 4).await.requested_by));
        // Another request's.
        wanted[2].requested_by = EventId::new();
        wanted.push(to_place(5, EventId::new()));
        // Delivered twice.
        wanted.push(wanted[0].clone());
        let claims = stage.store.claim_to_place(wanted, now()).await.unwrap();
        let [
            PlacingClaim::Taken(first),
            PlacingClaim::Taken(second),
            PlacingClaim::NotToPlace,
            PlacingClaim::NotToPlace,
            PlacingClaim::Missing,
            PlacingClaim::NotToPlace,
        ] = claims.as_slice()
        else {
            panic!("{claims:?}")
        };
        for (n, claimed) in [(1, first), (2, second)] {
            let stored = read(&stage, n).await;
            assert_eq!(claimed.order, stored.order, "as it is read under the claim");
            assert_eq!(claimed.placing_until, Some(now().after(LEASE)));
            assert_eq!((claimed.placing_until, &claimed.params), (stored.placing_until, &stored.params));
            assert_eq!(stored.order.queries.next_at, Some(now().after(LEASE)), "it is polled then");
        }
        assert_eq!(read(&stage, 3).await.placing_until, None);
    }

    async fn an_order_whose_time_is_over_is_not_claimed(db: TestDb) {
        let stage = TestStore::open(db).await;
        let stored = stage.recorded(1).await;
        let claims = stage.store.claim_to_place(vec![to_place(1, stored.requested_by)], stored.order.expires_at).await;
        assert!(matches!(claims.unwrap().as_slice(), [PlacingClaim::NotToPlace]));
        let after = read(&stage, 1).await;
        assert_eq!((after.placing_until, after.order.queries), (None, stored.order.queries));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_another_transaction_has_locked_holds_up_no_other() {
    let stage = TestStore::open(TestDb::postgres().await).await;
    let (first, second) = (stage.recorded(1).await, stage.recorded(2).await);
    let other = Database::connect(stage.db.url()).await.unwrap();
    let lock = other.begin().await.unwrap();
    lock.execute_unprepared("SELECT * FROM orders WHERE order_no = 'A000001' FOR UPDATE").await.unwrap();
    let wanted = || vec![to_place(1, first.requested_by), to_place(2, second.requested_by)];
    let claims = stage.store.claim_to_place(wanted(), now()).await.unwrap();
    assert!(matches!(claims.as_slice(), [PlacingClaim::Busy, PlacingClaim::Taken(_)]), "{claims:?}");
    lock.rollback().await.unwrap();
    let claims = stage.store.claim_to_place(wanted(), now()).await.unwrap();
    assert!(matches!(claims.as_slice(), [PlacingClaim::Taken(_), PlacingClaim::NotToPlace]), "{claims:?}");
}

async fn run(db: &Db, sql: &str) {
    db.write("test", sql.to_owned(), |tx, sql| Box::pin(tx.execute_unprepared(sql))).await.unwrap();
}

/// Counts the transactions that claimed orders.
const COUNTED: &str = "
    CREATE TABLE claiming (tx BIGINT NOT NULL);
    CREATE FUNCTION claiming() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO claiming (tx) VALUES (txid_current()); RETURN NULL; END $$;
    CREATE TRIGGER claiming AFTER UPDATE OF placing_until_ms ON orders FOR EACH ROW
      WHEN (NEW.placing_until_ms IS NOT NULL) EXECUTE FUNCTION claiming()";

/// Counts the statements that claim orders, also those that find none to claim.
const TRIED: &str = "
    CREATE TABLE tried (n BIGINT NOT NULL);
    CREATE FUNCTION tried() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO tried (n) VALUES (1); RETURN NULL; END $$;
    CREATE TRIGGER tried BEFORE UPDATE OF placing_until_ms ON orders FOR EACH STATEMENT EXECUTE FUNCTION tried()";

/// A redelivery would be a second attempt, of which a refusal is no verdict about the order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_locked_at_its_first_delivery_is_placed_by_that_delivery() {
    let service = TestService::nats_postgres().await.processes().await;
    let ingress = service.run_roles("ingress").await;
    let (status, order) = service.post(&ingress.base, "/v1/orders", &jsapi("A790101", 100)).await;
    assert_eq!(status, 202, "{order}");
    let db = service.open_db().await;
    run(&db, TRIED).await;
    let other = Database::connect(service.db.url()).await.unwrap();
    let lock = other.begin().await.unwrap();
    lock.execute_unprepared("SELECT * FROM orders WHERE order_no = 'A790101' FOR UPDATE").await.unwrap();
    let body = signed_refusal("PARAM_ERROR", "参数错误");
    service.faults(json!([{"on": "unifiedorder", "kind": "raw", "body": body}])).await;
    let worker = service.run_beside("worker", LONG_LEASE).await;
    within_timeout("a claim that finds it locked", async {
        while service.number(&db, "SELECT COUNT(*) FROM tried").await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    lock.rollback().await.unwrap();
    service.until_state(&ingress.base, "A790101", "failed").await;
    assert_eq!(service.wechat_calls("unifiedorder", "A790101").await.len(), 1);
    assert_eq!(service.wechat_calls("orderquery", "A790101").await.len(), 0, "the refusal is believed");
    drop(worker);
    run(&db, "DROP TRIGGER tried ON orders; DROP FUNCTION tried(); DROP TABLE tried").await;
    let _jobs = service.run_beside("relay,scheduler", &[]).await;
    service.finish().await;
}

async fn claimed_in_groups(service: TestService) {
    const ORDERS: usize = 40;
    let service = service.processes().await;
    let ingress = service.run_roles("ingress").await;
    let numbers: Vec<String> = (0..ORDERS).map(|n| format!("A79{n:04}")).collect();
    for order_no in &numbers {
        let request = service.http.post(format!("{}/v1/orders", ingress.base)).bearer_auth(API_KEY);
        let request = request.header("prefer", "wait=0").header("content-type", "application/json");
        let (status, order) = answer(request.body(jsapi(order_no, 100).to_string())).await.unwrap();
        assert_eq!(status, 202, "{order}");
    }
    let db = service.open_db().await;
    run(&db, COUNTED).await;
    let _worker = service.run_beside("worker", LONG_LEASE).await;
    for order_no in &numbers {
        service.until_state(&ingress.base, order_no, "payable").await;
    }
    // A claim that is renewed counts once more.
    assert!(service.number(&db, "SELECT COUNT(*) FROM claiming").await >= i64::try_from(ORDERS).unwrap());
    let transactions = service.number(&db, "SELECT COUNT(DISTINCT tx) FROM claiming").await;
    assert!(transactions <= i64::try_from(ORDERS / 2).unwrap(), "{transactions} transactions");
    let mut calls = HashSet::new();
    for order_no in &numbers {
        calls.insert(service.wechat_calls("unifiedorder", order_no).await.len());
    }
    assert_eq!(calls, HashSet::from([1]), "each is placed once");
    run(&db, "DROP TRIGGER claiming ON orders; DROP FUNCTION claiming(); DROP TABLE claiming").await;
    let _jobs = service.run_beside("relay,scheduler", &[]).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_wait_for_a_worker_take_fewer_transactions_than_they_are_on_nats() {
    claimed_in_groups(TestService::nats_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_wait_for_a_worker_take_fewer_transactions_than_they_are_on_the_embedded_bus() {
    claimed_in_groups(TestService::embedded_postgres().await).await;
}

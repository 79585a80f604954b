//! One `Idempotency-Key` is one order, whatever its callers, their processes and the database do.

use serde_json::{Value, json};
use wxpay_worker::event::command::Idempotency;

use crate::harness::service::{API_KEY, Environment, InProcess, TestService, jsapi};
use crate::settling::on_both;

/// `POST /v1/orders` under a key.
async fn keyed(service: &Environment, base: &str, key: &str, body: &Value, wait: u32) -> (u16, Value) {
    let request = service.http.post(format!("{base}/v1/orders")).bearer_auth(API_KEY).header("idempotency-key", key);
    let request = request.header("prefer", format!("wait={wait}")).header("content-type", "application/json");
    crate::harness::service::answer(request.body(body.to_string())).await.unwrap()
}

async fn two_processes(service: TestService) {
    const KEYS: usize = 20;
    let service = service.processes().await;
    let one = service.run_all().await;
    let two = service.run_another_ingress().await;
    let mut orders = Vec::new();
    for n in 0..KEYS {
        let key = format!("key-{n}");
        let bodies = [jsapi(&format!("TWO-{n:03}-A"), 100), jsapi(&format!("TWO-{n:03}-B"), 100)];
        let (a, b) = tokio::join!(
            keyed(&service, &one.base, &key, &bodies[0], 0),
            keyed(&service, &two.base, &key, &bodies[1], 0)
        );
        let (won, lost) = if a.0 < 300 { ((&a, 0), &b) } else { ((&b, 1), &a) };
        assert!([200, 202].contains(&won.0.0), "{a:?} {b:?}");
        assert_eq!((lost.0, &lost.1["code"]), (422, &json!("key_reused")), "{a:?} {b:?}");
        // At the other process, the same request is the same order, and the other one is refused still.
        let other = if won.1 == 0 { &two.base } else { &one.base };
        let (status, again) = keyed(&service, other, &key, &bodies[won.1], 0).await;
        assert!([200, 202].contains(&status) && again["order_token"] == won.0.1["order_token"], "{again}");
        assert_eq!(keyed(&service, other, &key, &bodies[1 - won.1], 0).await.0, 422);
        orders.push(won.0.1["order_no"].as_str().unwrap().to_owned());
    }
    for order_no in &orders {
        service.until_state(&one.base, order_no, "payable").await;
    }
    let db = service.open_db().await;
    assert_eq!(service.number(&db, "SELECT COUNT(*) FROM orders").await, 20);
    let agree = "SELECT COUNT(*) FROM idempotency_keys k JOIN orders o
                 ON o.order_no = k.order_no AND o.content_hash = k.content_hash";
    assert_eq!(service.number(&db, agree).await, 20);
    assert_eq!(service.wechat_books("").await["orders"].as_array().unwrap().len(), KEYS, "WeChat has others");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_postgres_make_one_order_under_one_key() {
    two_processes(TestService::nats_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_sqlite_make_one_order_under_one_key() {
    two_processes(TestService::embedded_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_gave_up_finds_its_order_and_makes_no_other() {
    let service = TestService::embedded_postgres().await.processes().await;
    // No worker: the request waits to its end.
    let ingress = service.run_roles("ingress").await;
    let body = jsapi("GAVE-UP-1", 100);
    let waiting = keyed(&service, &ingress.base, "k", &body, 30);
    let db = service.open_db().await;
    let mut waiting = std::pin::pin!(waiting);
    let recorded = async {
        while service.number(&db, "SELECT COUNT(*) FROM orders").await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        answer = &mut waiting => panic!("it did not wait: {answer:?}"),
        () = recorded => {}
    }
    // The connection ends with the request: the caller gives up.
    let (status, other) = keyed(&service, &ingress.base, "k", &jsapi("GAVE-UP-2", 100), 0).await;
    assert_eq!((status, &other["code"]), (422, &json!("key_reused")), "{other}");
    let (status, same) = keyed(&service, &ingress.base, "k", &body, 0).await;
    assert_eq!((status, &same["order_no"]), (202, &json!("GAVE-UP-1")), "{same}");
    let _workers = service.run_roles("worker,relay,scheduler").await;
    service.until_state(&ingress.base, "GAVE-UP-1", "payable").await;
    assert_eq!(service.number(&db, "SELECT COUNT(*) FROM orders").await, 1);
    service.finish().await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_the_same_content_goes_on_under_the_key_and_other_content_does_not() {
    let service = TestService::embedded_sqlite().await.processes().await;
    // It dies after the order is recorded and before its command is on the bus.
    let mut ingress = service.run_all_with(&[("WXPAY_CRASH_AT", "ingress.order_recorded")]).await;
    let (body, base) = (jsapi("CRASHED-1", 100), ingress.base.clone());
    let request = service.http.post(format!("{base}/v1/orders")).bearer_auth(API_KEY).header("idempotency-key", "k");
    let request = request.header("content-type", "application/json").body(body.to_string());
    assert!(crate::harness::service::answer(request).await.is_err(), "it answered before it died");
    ingress.until_dead().await;
    let ingress = service.run_all().await;
    let (status, other) = keyed(&service, &ingress.base, "k", &jsapi("CRASHED-2", 100), 0).await;
    assert_eq!((status, &other["code"]), (422, &json!("key_reused")), "{other}");
    let (status, order) = keyed(&service, &ingress.base, "k", &body, 20).await;
    assert_eq!((status, &order["state"]), (200, &json!("payable")), "{order}");
    let db = service.open_db().await;
    assert_eq!(service.number(&db, "SELECT COUNT(*) FROM orders").await, 1);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_a_keyed_request_is_refused_and_nothing_of_it_is_left() {
    let service = TestService::new().in_process().await;
    let url = service.db.url();
    let other = rusqlite::Connection::open(url.trim_start_matches("sqlite://")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (status, problem) = keyed(&service, &service.base, "k", &jsapi("AWAY-1", 100), 1).await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{problem}");
    drop(other);
    // The key is free.
    let (status, order) = keyed(&service, &service.base, "k", &jsapi("AWAY-2", 100), 20).await;
    assert_eq!((status, &order["state"]), (200, &json!("payable")), "{order}");
    assert_eq!(service.number("SELECT COUNT(*) FROM orders").await, 1);
    service.finish().await;
}

async fn replayed(service: &InProcess, key: &str, body: &Value) -> (u16, Option<String>) {
    let request = service.http.post(format!("{}/v1/orders", service.base)).bearer_auth(API_KEY);
    let request = request.header("idempotency-key", key).header("content-type", "application/json");
    let response = request.body(body.to_string()).send().await.unwrap();
    let header = response.headers().get("idempotency-replayed").map(|v| v.to_str().unwrap().to_owned());
    (response.status().as_u16(), header)
}

on_both! {
    async fn a_key_is_bound_to_the_order_that_it_was_used_with_first(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.place("BOUND-1").await;
        // The order was placed without a key; now the key is its own.
        assert_eq!(replayed(&service, "k", &jsapi("BOUND-1", 100)).await, (200, Some("true".into())));
        let (status, other) = keyed(&service, &service.base, "k", &jsapi("BOUND-2", 100), 0).await;
        assert_eq!((status, &other["code"]), (422, &json!("key_reused")), "{other}");
        // A payer's address that was left out is whatever it was.
        let mut elsewhere = jsapi("BOUND-3", 100);
        elsewhere.as_object_mut().unwrap().remove("client_ip");
        assert_eq!(replayed(&service, "k3", &elsewhere).await, (200, None));
        service.store.db().execute("test", "UPDATE orders SET content = REPLACE(content, '127.0.0.1', '192.0.2.1')
            WHERE order_no = 'BOUND-3'", []).await.unwrap();
        let stored = service.stored("BOUND-3").await;
        let hash = stored.content.hash();
        for table in ["orders", "idempotency_keys"] {
            let sql = format!("UPDATE {table} SET content_hash = '{hash}' WHERE order_no = 'BOUND-3'");
            service.store.db().execute("test", sql, []).await.unwrap();
        }
        assert_eq!(replayed(&service, "k3", &elsewhere).await, (200, Some("true".into())));
        assert_eq!(replayed(&service, "k4", &elsewhere).await, (200, Some("true".into())));
        assert_eq!(replayed(&service, "k4", &jsapi("BOUND-4", 100)).await.0, 422);
        // A number that has other content binds no key.
        assert_eq!(replayed(&service, "k5", &jsapi("BOUND-1", 200)).await.0, 409);
        assert_eq!(replayed(&service, "k5", &jsapi("BOUND-5", 200)).await, (200, None));
        // A refund's key is no order's.
        service.pay("BOUND-5").await;
        service.until_state("BOUND-5", "paid").await;
        let request = service.http.post(format!("{}/v1/orders/BOUND-5/refunds", service.base)).bearer_auth(API_KEY);
        let request = request.header("idempotency-key", "k6").header("content-type", "application/json");
        let response = request.body(r#"{"amount_fen":10}"#).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        assert_eq!(replayed(&service, "k6", &jsapi("BOUND-5", 200)).await.0, 422);
        service.finish().await;
    }

    async fn keys_claimed_by_the_version_before_are_good(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("BEFORE-1").await;
        // As the version before writes it, by the API key's name.
        let sql = "INSERT INTO idempotency_keys
                     (api_key, idempotency_key, content_hash, merchant, order_no, created_at_ms)
                   SELECT 'test', 'k', content_hash, merchant, order_no, created_at_ms FROM orders";
        service.store.db().execute("test", sql, []).await.unwrap();
        assert_eq!(replayed(&service, "k", &jsapi("BEFORE-1", 100)).await, (200, Some("true".into())));
        assert_eq!(replayed(&service, "k", &jsapi("BEFORE-2", 100)).await.0, 422);
        let key = Idempotency { api_key: "test".into(), key: "k".into() };
        assert_eq!(service.store.idempotency(&key).await.unwrap().unwrap().order_no, "BEFORE-1");
        service.finish().await;
    }

    async fn the_number_of_another_orders_attempt_is_a_conflict(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        // WeChat takes no number so short: the attempt has another.
        let taken = service.place("AB1").await["attempts"][0]["out_trade_no"].as_str().unwrap().to_owned();
        assert_ne!(taken, "AB1");
        for wait in ["wait=0", "wait=1"] {
            let request = service.http.post(format!("{}/v1/orders", service.base)).bearer_auth(API_KEY);
            let request = request.header("prefer", wait).header("content-type", "application/json");
            let answer = crate::harness::service::answer(request.body(jsapi(&taken, 100).to_string())).await.unwrap();
            assert_eq!((answer.0, &answer.1["code"]), (409, &json!("number_taken")), "{}", answer.1);
        }
        let (status, problem) = keyed(&service, &service.base, "k", &jsapi(&taken, 100), 0).await;
        assert_eq!((status, &problem["code"]), (409, &json!("number_taken")), "{problem}");
        assert_eq!(replayed(&service, "k", &jsapi("AB2222", 100)).await, (200, None));
        // No dead letter, which the end asserts.
        service.finish().await;
    }
}

//! API keys of clients: replaced with overlap, and limited by scope.

use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::clock::Clock;
use wxpay_worker::secret::sha256_hex;

use crate::harness::service::{InProcess, TestService, answer, jsapi};

async fn call(service: &InProcess, api_key: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let url = format!("{}{path}", service.base);
    let request = match body {
        Some(body) => {
            let request = service.http.post(url).header("content-type", "application/json");
            request.header("idempotency-key", "k").body(body.to_string())
        }
        None => service.http.get(url),
    };
    answer(request.bearer_auth(api_key)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_replaced_with_overlap_refunds_once() {
    let clock = Clock::manual(Clock::system().now());
    let until = clock.now().after(Duration::from_secs(600));
    let (old, new) = (sha256_hex(b"the old key"), sha256_hex(b"the new key"));
    let client = format!(
        r#"
        [[api_keys]]
        name = "shop-2027"
        id = "shop"
        hashes = [{{ hash = "sha256:{new}" }}, {{ hash = "sha256:{old}", until = "{until}" }}]
        scopes = ["orders", "refunds"]
        merchants = ["main"]
        "#
    );
    let service = TestService::new().clock(clock).config(&client).refunds().in_process().await;
    let (status, order) = call(&service, "the old key", "/v1/orders", Some(jsapi("ROTATED-1", 900))).await;
    assert_eq!(status, 200, "{order}");
    // The key of the request is the client's, whichever key it presents.
    let (status, same) = call(&service, "the new key", "/v1/orders", Some(jsapi("ROTATED-1", 900))).await;
    assert_eq!((status, &same["order_token"]), (200, &order["order_token"]), "{same}");
    assert_eq!(call(&service, "the new key", "/v1/orders", Some(jsapi("ROTATED-2", 900))).await.0, 422);
    service.pay("ROTATED-1").await;
    service.until_state("ROTATED-1", "paid").await;
    let refund = "/v1/orders/ROTATED-1/refunds";
    let request = |key: &'static str, api_key: &'static str| {
        let url = format!("{}{refund}", service.base);
        let request = service.http.post(url).bearer_auth(api_key).header("idempotency-key", key);
        answer(request.header("content-type", "application/json").body(r#"{"amount_fen":300}"#))
    };
    let (_, first) = request("r", "the old key").await.unwrap();
    service.a_minute_later().await;
    let (_, second) = request("r", "the new key").await.unwrap();
    assert_eq!((&first["refund_no"], &first["amount_fen"]), (&second["refund_no"], &json!(300)), "{first} {second}");
    assert_eq!(service.wechat_refunds("ROTATED-1").await.len(), 1, "one refund at WeChat");
    // Its time is over.
    service.skip(600);
    assert_eq!(call(&service, "the old key", "/v1/orders/ROTATED-1", None).await.0, 401);
    assert_eq!(call(&service, "the new key", "/v1/orders/ROTATED-1", None).await.0, 200);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_need_their_scope_and_a_merchant_that_is_not_seen_does_not_exist() {
    let (orders, none) = (sha256_hex(b"orders only"), sha256_hex(b"no merchant"));
    let clients = format!(
        r#"
        [[api_keys]]
        name = "checkout"
        hash = "sha256:{orders}"
        scopes = ["orders", "finance", "ops"]
        [[api_keys]]
        name = "blind"
        hash = "sha256:{none}"
        scopes = ["orders", "refunds", "finance"]
        merchants = []
        "#
    );
    let service = TestService::new().config(&clients).refunds().in_process().await;
    service.paid("SCOPED-1").await;
    let body = || Some(json!({"refund_no": "SCOPED-1-r1", "amount_fen": 10}));
    for (path, body) in [("/v1/orders/SCOPED-1/refunds", body()), ("/v1/refunds/SCOPED-1-r1", None)] {
        let (status, problem) = call(&service, "orders only", path, body).await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("refunds"), "{problem}");
    }
    assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 0);
    assert_eq!(call(&service, "orders only", "/v1/orders/SCOPED-1", None).await.0, 200);
    for (path, body) in [
        ("/v1/orders", Some(jsapi("SCOPED-2", 100))),
        ("/v1/orders/SCOPED-1", None),
        ("/v1/orders/SCOPED-1/refunds", body()),
    ] {
        assert_eq!(call(&service, "no merchant", path, body).await.0, 404, "{path}");
    }
    let (status, page) = call(&service, "no merchant", "/v1/events", None).await;
    assert_eq!((status, &page["events"]), (200, &json!([])), "{page}");
    assert!(!service.get("/v1/events?wait=30").await.1["events"].as_array().unwrap().is_empty());
    service.finish().await;
}

/// Revoked after its refund was sent and its answer lost: the request that is repeated with the next key is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_database_that_replaces_another_refunds_once() {
    let admin = format!(
        r#"
        [[api_keys]]
        name = "admin"
        hash = "sha256:{}"
        scopes = ["refunds", "admin"]
        merchants = ["main"]
        "#,
        sha256_hex(b"the admin key")
    );
    let service = TestService::new().config(&admin).refunds().in_process().await;
    let keys = |path: &'static str, body: Value| {
        let request = service.http.post(format!("{}{path}", service.base)).bearer_auth("the admin key");
        answer(request.header("content-type", "application/json").body(body.to_string()))
    };
    let made = async |name: &str, client: Option<&Value>| {
        let mut body = json!({"name": name, "scopes": ["refunds"], "reason": "a shop"});
        if let Some(client) = client {
            body["client"] = client.clone();
        }
        let (status, made) = keys("/v1/ops/keys", body).await.unwrap();
        assert_eq!(status, 201, "{made}");
        made
    };
    service.paid("ROTATED-3").await;
    let refunded = async |key: &Value| {
        let url = format!("{}/v1/orders/ROTATED-3/refunds", service.base);
        let request = service.http.post(url).bearer_auth(key["key"].as_str().unwrap()).header("idempotency-key", "r");
        let (status, refund) =
            answer(request.header("content-type", "application/json").body(r#"{"amount_fen":30}"#)).await.unwrap();
        assert!([200, 202].contains(&status), "{status} {refund}");
        refund["refund_no"].clone()
    };
    let old = made("shop-1", None).await;
    assert_eq!(old["client"], old["id"]);
    let first = refunded(&old).await;
    let new = made("shop-2", Some(&old["id"])).await;
    assert_eq!(new["client"], old["id"]);
    service.a_minute_later().await;
    assert_eq!(refunded(&new).await, first);
    // The third knows its client by its predecessor.
    let third = made("shop-3", Some(&new["id"])).await;
    service.a_minute_later().await;
    assert_eq!(refunded(&third).await, first);
    assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 1);
    let body = json!({"name": "x", "scopes": ["refunds"], "reason": "x", "client": "key-none"});
    assert_eq!(keys("/v1/ops/keys", body).await.unwrap().0, 404);
    service.until_refunded(first.as_str().unwrap(), "processing").await;
    service.ends(first.as_str().unwrap(), "SUCCESS").await;
    service.until_refunded(first.as_str().unwrap(), "succeeded").await;
    service.finish().await;
}

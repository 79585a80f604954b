//! Refunds that a policy asks for are counted like those that people ask for: each once.

use serde_json::{Value, json};
use wxpay_worker::store::Db;

use crate::harness::service::{MCH_ID, Process, Processes, TestService};
use crate::harness::within_timeout;

const POLICY: &[(&str, &str)] =
    &[("WXPAY__MERCHANTS__0__PAID_LATE", "refund"), ("WXPAY__MERCHANTS__0__PAID_TWICE", "refund")];

/// How many refunds `/metrics` says were requested.
async fn requested(service: &Processes, process: &Process) -> u64 {
    let text = service.http.get(format!("{}/metrics", process.base)).send().await.unwrap().text().await.unwrap();
    let name = "wxpay_refunds_total{merchant=\"main\",outcome=\"requested\"} ";
    text.lines().filter_map(|line| line.strip_prefix(name)).map(|count| count.parse::<u64>().unwrap()).sum()
}

async fn ages(db: &Db, sql: &str) {
    db.execute("test", String::from(sql), []).await.unwrap();
}

/// A payment that came late, by our books, and is reported again and again; then one of another number that was in time
/// all along.
async fn a_refund_that_a_policy_asks_for_is_counted_once(service: Processes) {
    let process = service.run_all_with(POLICY).await;
    let base = &process.base;
    let db = service.open_db().await;
    service.place(base, "Q100001", 100).await;
    // WeChat closes nothing within five minutes, and the process asks for nothing earlier.
    ages(&db, "UPDATE attempts SET created_at_ms = created_at_ms - 301000").await;
    let body = json!({"trade_type": "NATIVE", "product_id": "tea"});
    let (status, order) = service.post(base, "/v1/orders/Q100001/attempts?merchant=main", &body).await;
    assert_eq!(status, 200, "{order}");
    let second = order["attempts"][1]["out_trade_no"].as_str().unwrap().to_owned();
    assert_eq!(requested(&service, &process).await, 0);

    ages(&db, "UPDATE orders SET expires_at_ms = expires_at_ms - 7265000").await;
    let first = json!({"out_trade_no": "Q100001", "mch_id": MCH_ID});
    let late = json!({"out_trade_no": "Q100001", "mch_id": MCH_ID, "late": true});
    let (status, paid) = service.post(&service.wechat_url, "/_sandbox/pay", &late).await;
    assert_eq!(status, 200, "{paid}");
    service.until_state(base, "Q100001", "paid").await;
    for _ in 0..3 {
        service.post(&service.wechat_url, "/_sandbox/notify", &first).await;
    }
    service.until_drained().await;
    assert_eq!(requested(&service, &process).await, 1, "of one late payment that was reported four times");

    // Of the two payments the late one is the one too many, and it was sent back already.
    ages(&db, "UPDATE orders SET expires_at_ms = expires_at_ms + 7205000").await;
    service.pay(&second).await;
    within_timeout("the second payment", async {
        let twice = |order: &Value| order["flags"].as_array().is_some_and(|f| f.contains(&json!("paid_twice")));
        while !twice(&service.get(base, "/v1/orders/Q100001?merchant=main").await.1) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    service.until_drained().await;
    assert_eq!(service.number(&db, "SELECT COUNT(*) FROM refunds").await, 1);
    assert_eq!(service.events(base, "wxpay.refund.requested.v1").await.len(), 1);
    assert_eq!(requested(&service, &process).await, 1, "a refund that is there already is none more");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_a_policy_asks_for_is_counted_once_on_sqlite() {
    a_refund_that_a_policy_asks_for_is_counted_once(TestService::embedded_sqlite().await.refunds().processes().await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_a_policy_asks_for_is_counted_once_on_postgres() {
    a_refund_that_a_policy_asks_for_is_counted_once(TestService::embedded_postgres().await.refunds().processes().await)
        .await;
}

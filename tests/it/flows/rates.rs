//! Two processes on one database: together they call WeChat no more often than the merchant's rate allows.

use std::time::Duration;

use serde_json::json;
use wxpay_worker::clock::{Clock, Timestamp};

use crate::harness::service::{API_KEY, MCH_ID, Processes, TestService, answer, jsapi};
use crate::harness::within_timeout;

const RATE: usize = 5;
const ORDERS: usize = 16;

/// When each call of this API reached WeChat.
async fn arrivals(service: &Processes, api: &str) -> Vec<Timestamp> {
    let path = format!("/_sandbox/requests?mch_id={MCH_ID}");
    let (_, seen) = service.try_get(&service.wechat_url, &path).await.unwrap();
    let of_api = seen["requests"].as_array().unwrap().iter().filter(|requests| requests["api"] == api);
    let each = of_api.flat_map(|requests| requests["each"].as_array().unwrap());
    let mut at: Vec<_> = each.map(|a| Timestamp::parse_rfc3339(a["at"].as_str().unwrap()).unwrap()).collect();
    at.sort();
    at
}

async fn two_processes_keep_to_the_rate_together(service: TestService) {
    // A claim that ends within a call of a busy machine would have it made again.
    let service = service.merchant(&format!("orders_per_second = {RATE}")).config("[store]\nlease_ms = 60000\n");
    let service = service.processes().await;
    let first = service.run_all().await;
    let _second = service.run_beside("worker", &[]).await;
    let order_nos: Vec<String> = (0..ORDERS).map(|n| format!("RATE{n:04}")).collect();
    let request = |order_no: &String| {
        let (service, first, body) = (&service, &first, jsapi(order_no, 100).to_string());
        async move {
            // A busy machine may not take one in time: the same request may be repeated.
            loop {
                let request = service.http.post(format!("{}/v1/orders", first.base)).bearer_auth(API_KEY);
                let request = request.header("content-type", "application/json").header("prefer", "wait=0");
                match answer(request.body(body.clone())).await.unwrap() {
                    (200 | 202, _) => return,
                    (status, problem) => assert_eq!((status, &problem["retryable"]), (503, &json!(true)), "{problem}"),
                }
            }
        }
    };
    let begun = Clock::system().now();
    let requests = futures_util::future::join_all(order_nos.iter().map(request));
    within_timeout("the orders are taken", requests).await;
    for order_no in &order_nos {
        let order = service.until_state(&first.base, order_no, "payable").await;
        assert_eq!(order["attempts"].as_array().map(Vec::len), Some(1), "{order}");
    }
    let at = arrivals(&service, "unifiedorder").await;
    assert_eq!(at.len(), ORDERS, "one call an order");
    // At the rate the n-th comes after n fifths of a second, by two processes that do not know of each other after half
    // of it. A busy machine only delays it.
    for (n, at) in (0..).zip(&at).skip(4) {
        let after = at.since(begun);
        assert!(after >= Duration::from_millis(140) * n, "call {n} after {after:?}");
    }
    for order_no in &order_nos {
        service.pay(order_no).await;
        service.until_state(&first.base, order_no, "paid").await;
    }
    let books = service.wechat_books(&format!("mch_id={MCH_ID}")).await;
    assert_eq!(books["orders"].as_array().map(Vec::len), Some(ORDERS));
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_keep_to_the_rate_together_on_sqlite() {
    two_processes_keep_to_the_rate_together(TestService::embedded_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_keep_to_the_rate_together_on_postgres() {
    two_processes_keep_to_the_rate_together(TestService::embedded_postgres().await).await;
}

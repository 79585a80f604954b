//! The process that took an order repeats the call whose answer it could not record.

#![cfg(debug_assertions)]

use std::time::Duration;

use serde_json::json;

use crate::harness::db::TestDb;
use crate::harness::locker::Locker;
use crate::harness::pausing::{is_stopped, signal};
use crate::harness::service::{TestService, jsapi, signed_refusal};
use crate::harness::within_timeout;

/// The first call was executed: what WeChat says to the second one is no verdict about the order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_a_repeated_call_fails_no_order_that_the_first_call_placed() {
    let service = TestService::embedded_sqlite().await.config("[store]\nlease_ms = 60000\n").processes().await;
    let TestDb::Sqlite(folder) = &service.db else { unreachable!("on SQLite") };
    // Without jobs and relay: one that is stopped within a transaction would keep the lock of SQLite.
    let process = service.run_with("ingress,worker", &[("WXPAY_PAUSE_AT", "worker.order_answered")]).await;
    let body = jsapi("A760001", 100);
    let asking = service.try_post(&process.base, "/v1/orders", &body);
    let meanwhile = async {
        within_timeout("the pause after WeChat's answer", async {
            while !is_stopped(&process) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let locker = Locker::start(&folder.path().join("wxpay.db")).await;
        let body = signed_refusal("PARAM_ERROR", "参数错误");
        service.faults(json!([{"on": "unifiedorder", "kind": "raw", "body": body, "times": 1}])).await;
        signal(&process, "-CONT");
        within_timeout("the answer is not recorded", async {
            while !service.logs().contains("an order waits for the database") {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        drop(locker);
    };
    let _ = tokio::join!(asking, meanwhile);
    let _jobs = service.run_beside("relay,scheduler", &[]).await;
    service.until_state(&process.base, "A760001", "payable").await;
    let made = service.wechat_calls("unifiedorder", "A760001").await;
    assert!(made.len() >= 3, "placed, refused, and placed again under the same number: {made:?}");
    service.pay("A760001").await;
    service.until_state(&process.base, "A760001", "paid").await;
    service.finish().await;
}

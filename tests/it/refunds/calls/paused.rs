//! A process that is stopped between taking its slot and the call: others take the slot after it, and it sends
//! nothing.

use std::time::Duration;

use serde_json::json;

use crate::harness::pausing::{is_stopped, signal};
use crate::harness::service::{MCH_ID, TestService};
use crate::harness::within_timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_stopped_after_it_took_its_slot_takes_another_one_before_it_calls() {
    let service = TestService::embedded_postgres().await.refunds().processes().await;
    let process = service.run_all_with(&[("WXPAY_PAUSE_AT", "refund.called")]).await;
    service.place(&process.base, "P900001", 100).await;
    service.pay("P900001").await;
    service.until_state(&process.base, "P900001", "paid").await;
    let body = json!({"refund_no": "P9-a", "amount_fen": 60});
    let asking = service.try_post(&process.base, "/v1/orders/P900001/refunds?merchant=main", &body);
    let stopped = within_timeout("the pause", async {
        while !is_stopped(&process) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Time passes for every process but this one; its own clock knows afterwards.
        tokio::time::sleep(Duration::from_millis(20_500)).await;
        signal(&process, "-CONT");
    });
    let (_, ()) = tokio::join!(asking, stopped);
    within_timeout("the refund at WeChat", async {
        while service.wechat_ledger("P900001").await["refunds"].as_array().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let db = service.open_db().await;
    assert_eq!(service.number(&db, "SELECT calls FROM refunds").await, 2, "the first slot was given up");
    let path = format!("/_sandbox/requests?mch_id={MCH_ID}&out_trade_no=P900001");
    let (_, seen) = service.get(&service.wechat_url, &path).await;
    let calls = seen["requests"].as_array().unwrap().iter().find(|r| r["api"] == "refund").unwrap();
    assert_eq!(calls["each"].as_array().unwrap().len(), 1, "and nothing was sent for it: {calls}");
    service.finish().await;
}

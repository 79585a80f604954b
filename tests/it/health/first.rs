//! The prepay id is recorded before what an order's call shows of its merchant.

use serde_json::json;

use crate::harness::service::{TestService, signed_refusal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_is_written_after_the_prepay_id_of_the_order_that_shows_it() {
    let service = TestService::new().in_process().await;
    let body = signed_refusal("NOAUTH", "商户无此接口权限");
    service.faults(json!([{"on": "unifiedorder", "kind": "raw", "body": body, "times": 1}])).await;
    service.place_unanswered("R100001").await;
    service.until_state("R100001", "failed").await;
    service.until_health_events(&["degraded trade_type:JSAPI:shop"]).await;
    service.clear_faults().await;
    // A recovery that comes first is refused.
    let first = "CREATE TRIGGER recovery_first BEFORE UPDATE OF ended_ms ON merchant_health
                 WHEN NOT EXISTS (SELECT 1 FROM attempts WHERE out_trade_no = 'R100002' AND prepay_id IS NOT NULL)
                 BEGIN SELECT RAISE(ABORT, 'before the prepay id'); END";
    service.store.db().execute("test", first, []).await.unwrap();
    service.place("R100002").await;
    service.until_health_events(&["degraded trade_type:JSAPI:shop", "recovered trade_type:JSAPI:shop"]).await;
    service.finish().await;
}

//! Answers to the query about a refund that lack what WeChat's own sample lacks, or list what is not known here.

use serde_json::json;

use crate::harness::service::TestService;
use crate::settling::on_both;

on_both! {
    async fn a_refund_comes_to_its_end_by_an_answer_without_total_fee(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("Y100001").await;
        service.refunding("Y100001", "Y1-a", 30).await;
        service.faults(json!([{"on": "refundquery", "kind": "rewrite", "set": {"total_fee": null}}])).await;
        service.ends("Y1-a", "SUCCESS").await;
        service.until_refunded("Y1-a", "succeeded").await;
        service.finish().await;
    }

    async fn another_refunds_unknown_status_does_not_keep_ours_open(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("Y200001").await;
        service.refunding("Y200001", "Y2-a", 30).await;
        let set = json!({
            "refund_count": "2", "out_refund_no_1": "console-1", "refund_id_1": "50300000002026112200000000009",
            "refund_fee_1": "5", "refund_status_1": "A_NEW_STATUS",
        });
        service.faults(json!([{"on": "refundquery", "kind": "rewrite", "set": set}])).await;
        service.ends("Y2-a", "SUCCESS").await;
        service.until_refunded("Y2-a", "succeeded").await;
        service.finish().await;
    }
}

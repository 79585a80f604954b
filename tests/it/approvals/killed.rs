//! The process dies while it does what was approved.

#![cfg(debug_assertions)]

use std::time::Duration;

use serde_json::json;

use super::{DESK, LEAD, limits};
use crate::harness::process::Process;
use crate::harness::service::{MCH_ID, Processes, TestService, answer};
use crate::harness::within_timeout;

async fn post_by(
    service: &Processes,
    process: &Process,
    key: &str,
    (path, body): (&str, serde_json::Value),
) -> Result<(u16, serde_json::Value), reqwest::Error> {
    let request = service.http.post(format!("{}{path}", process.base)).bearer_auth(key);
    answer(request.header("content-type", "application/json").body(body.to_string())).await
}

async fn refunds_once(service: TestService) {
    let service = service.refunds().config(&limits()).processes().await;
    let mut first = service.run_all_with(&[("WXPAY_CRASH_AT", "refund.recorded")]).await;
    service.place(&first.base, "APK00001", 100).await;
    service.pay("APK00001").await;
    service.until_state(&first.base, "APK00001", "paid").await;
    let wanted = ("/v1/orders/APK00001/refunds?merchant=main", json!({"refund_no": "k1", "amount_fen": 80}));
    let (status, refund) = post_by(&service, &first, DESK, wanted).await.unwrap();
    assert_eq!((status, &refund["state"]), (202, &json!("awaiting_approval")), "{refund}");
    let path = format!("/v1/ops/approvals/{}/approve", refund["approval"]["id"]);
    let decision = (path.as_str(), json!({"reason": "seen"}));
    assert!(post_by(&service, &first, LEAD, decision.clone()).await.is_err(), "it answered before it died");
    first.until_dead().await;
    let db = service.open_db().await;
    let second = service.run_all().await;
    for _ in 0..2 {
        let (status, approval) = post_by(&service, &second, LEAD, decision.clone()).await.unwrap();
        assert_eq!((status, &approval["state"]), (200, &json!("approved")), "{approval}");
    }
    assert_eq!(service.number(&db, "SELECT COUNT(*) FROM refunds").await, 1);
    assert_eq!(service.number(&db, "SELECT reserved_fen FROM refund_totals").await, 80);
    let done = "SELECT COUNT(*) FROM audit WHERE action IN ('refund.request', 'approval.approve') AND result = 'done'";
    assert_eq!(service.number(&db, done).await, 2, "one request, one approval");
    // Its message was lost with the process: the scheduler calls for it after a minute, which is not waited for here.
    db.execute("test", "UPDATE refunds SET next_at_ms = 1 WHERE state = 'requested'", []).await.unwrap();
    within_timeout("the call", async {
        while service.number(&db, "SELECT COUNT(*) FROM refunds WHERE state = 'processing'").await == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let ended = json!({"mch_id": MCH_ID, "out_refund_no": "k1", "outcome": "SUCCESS"});
    service.wechat_control("refunds/outcome", ended).await;
    assert_eq!(service.wechat_calls("refund", "APK00001").await.len(), 1);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_the_approval_and_the_call_on_sqlite() {
    refunds_once(TestService::embedded_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_the_approval_and_the_call_on_postgres() {
    refunds_once(TestService::embedded_postgres().await).await;
}

//! A process that dies between two steps of an erasure: the next one goes on where it was.

#![cfg(debug_assertions)]

use std::time::Duration;

use serde_json::json;

use super::{LAST_PASS, holders, run};
use crate::harness::service::{OPENID, TestService};
use crate::harness::within_timeout;

const POLL_INTERVAL: Duration = Duration::from_millis(100);

async fn goes_on(service: TestService) {
    let service = service.processes().await;
    // Its second step: the first one changed rows.
    let mut first = service.run_all_with(&[("WXPAY_CRASH_AT", "erasure.stepped:2")]).await;
    service.place(&first.base, "ERK00001", 100).await;
    service.pay("ERK00001").await;
    service.until_state(&first.base, "ERK00001", "paid").await;
    service.until_drained().await;
    let wanted = json!({"app": "shop", "openid": OPENID, "reason": "the payer asked for it"});
    let (status, asked) = service.post(&first.base, "/v1/ops/erasures", &wanted).await;
    assert_eq!(status, 202, "{asked}");
    first.until_dead().await;
    let db = service.open_db().await;
    let begun = "SELECT COUNT(*) FROM erasures WHERE state = 'running' AND changed + removed > 0";
    assert_eq!(service.number(&db, begun).await, 1, "it died before it did anything");
    let second = service.run_all().await;
    let late = "SELECT COUNT(*) FROM erasures WHERE state = 'waiting' AND waits_for = '{\"last_pass\":1}'";
    within_timeout("the erasure's last pass", async {
        while service.number(&db, late).await == 0 {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    })
    .await;
    run(&db, LAST_PASS, []).await;
    let path = format!("/v1/ops/erasures/{}", asked["id"]);
    within_timeout("the end of the erasure", async {
        while service.get(&second.base, &path).await.1["state"] != "done" {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    })
    .await;
    assert!(holders(&db, OPENID).await.is_empty());
    let (_, done) = service.get(&second.base, &path).await;
    // The end of the sessions, the order, the notification: each once.
    assert_eq!((&done["changed"], &done["removed"]), (&json!(3), &json!(1)), "{done}");
    let audited = "SELECT COUNT(*) FROM audit WHERE action IN ('payer.erase', 'payer.erased')";
    assert_eq!(service.number(&db, audited).await, 2);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_goes_on_after_a_crash_on_sqlite() {
    goes_on(TestService::embedded_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_goes_on_after_a_crash_on_postgres() {
    goes_on(TestService::embedded_postgres().await).await;
}

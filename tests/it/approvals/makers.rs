//! Who is another person: not a key that shares a maker with the asker's.

use serde_json::json;

use super::{BOSS, DESK, LEAD, NEW_DESK, service};
use crate::harness::service::InProcess;
use crate::settling::on_both;

/// A key that another one makes, with what it may do.
async fn made(service: &InProcess, by: &str, name: &str, of_client: Option<&str>) -> String {
    let scopes = ["orders", "refunds", "ops", "admin"];
    let mut body = json!({"name": name, "scopes": scopes, "merchants": "all", "reason": "a desk"});
    if let Some(client) = of_client {
        body["client"] = json!(client);
    }
    let (status, made) = service.post_by(by, "/v1/ops/keys", &body).await;
    assert_eq!(status, 201, "{made}");
    made["key"].as_str().unwrap().to_owned()
}

/// 61 fen that a key wants to give back, which wait.
async fn asked(service: &InProcess, key: &str, refund_no: &str) -> i64 {
    let body = json!({"refund_no": refund_no, "amount_fen": 61});
    let (status, refund) = service.post_by(key, "/v1/orders/APM00001/refunds", &body).await;
    assert_eq!((status, &refund["state"]), (202, &json!("awaiting_approval")), "{refund}");
    refund["approval"]["id"].as_i64().unwrap()
}

on_both! {
    async fn no_key_approves_what_a_key_of_its_maker_asked_for(db: TestDb) {
        let service = service().on(db).in_process().await;
        service.paid("APM00001").await;
        let child = made(&service, DESK, "child", None).await;
        let sibling = made(&service, NEW_DESK, "sibling", None).await;
        let grandchild = made(&service, &child, "grandchild", None).await;
        let as_lead = made(&service, DESK, "as-lead", Some("lead")).await;
        // What a key makes that bears another client's name leads to who made that key.
        let below_lead = made(&service, &as_lead, "below-lead", None).await;
        let all = [DESK, NEW_DESK, &child, &sibling, &grandchild, &as_lead, &below_lead];
        for (n, asker) in [DESK, &child, &grandchild, &sibling, &as_lead, &below_lead].into_iter().enumerate() {
            let id = asked(&service, asker, &format!("m{n}")).await;
            for (k, decider) in all.iter().enumerate() {
                let (status, problem) = service.decided(decider, id, "approve").await;
                assert_eq!((status, &problem["code"]), (403, &json!("approval_own")), "{n} by {k}: {problem}");
            }
            assert_eq!(service.refunds_here().await, 0);
            // The true lead is the client under whose name a key of the desk asks.
            if [&as_lead, &below_lead].iter().any(|key| key.as_str() == asker) {
                let (status, problem) = service.decided(LEAD, id, "approve").await;
                assert_eq!((status, &problem["code"]), (403, &json!("approval_own")), "{n}: {problem}");
            }
            let (status, refused) = service.decided(BOSS, id, "refuse").await;
            assert_eq!((status, &refused["state"]), (200, &json!("refused")), "{n}: {refused}");
        }
        // Who asked may withdraw it, and no key of its maker refuses it.
        let id = asked(&service, DESK, "m8").await;
        let (status, problem) = service.decided(&child, id, "refuse").await;
        assert_eq!((status, &problem["code"]), (403, &json!("approval_own")), "{problem}");
        let (status, withdrawn) = service.decided(NEW_DESK, id, "refuse").await;
        assert_eq!((status, &withdrawn["state"]), (200, &json!("refused")), "{withdrawn}");
        let id = asked(&service, DESK, "m9").await;
        let (status, approval) = service.decided(LEAD, id, "approve").await;
        assert_eq!((status, &approval["state"]), (200, &json!("approved")), "a key in its name does not bar the lead");
        assert_eq!(service.refunds_here().await, 1);
        service.poll_until("m9", "processing").await;
        service.ends("m9", "SUCCESS").await;
        service.until_refunded("m9", "succeeded").await;
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_makers_are_too_many_to_follow_approves_nothing() {
    let service = service().in_process().await;
    service.paid("APM00001").await;
    let mut key = made(&service, DESK, "link-0", None).await;
    for n in 1..70 {
        key = made(&service, &key, &format!("link-{n}"), None).await;
    }
    let id = asked(&service, LEAD, "n1").await;
    assert_eq!(service.decided(&key, id, "approve").await.1["code"], "approval_own");
    assert_eq!(service.refunds_here().await, 0);
    service.finish().await;
}

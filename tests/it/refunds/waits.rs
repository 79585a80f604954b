//! What WeChat does not take yet waits, as long as it takes, and people hear of it once.

use serde_json::json;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::refund::RefundState;

use crate::harness::service::{MCH_ID, TestService};
use crate::settling::on_both;

on_both! {
    async fn too_often_waits_a_minute_between_all_calls_of_an_order(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("W100001").await;
        service.faults(json!([{"on": "refund", "kind": "rate_limit", "times": 3}])).await;
        let refund = service.give_back_in_vain("W100001", json!({"refund_no": "W1-a", "amount_fen": 10})).await;
        assert_eq!(refund["state"], "unknown", "perhaps taken on: {refund}");
        assert_eq!(refund["wechat"]["err_code"], "FREQUENCY_LIMITED", "{refund}");
        let body = json!({"refund_no": "W1-b", "amount_fen": 10});
        let (status, refund) = service.give_back_at_once("W100001", &body).await;
        assert_eq!(status, 202, "{refund}");
        for minutes in 0..40 {
            assert!(minutes < 39);
            let a = service.refund("W1-a").await.refund;
            let b = service.refund("W1-b").await.refund;
            if a.state == RefundState::Processing && b.state == RefundState::Processing {
                break;
            }
            // A part of it at a time, so that a call that came too early would be seen.
            for _ in 0..3 {
                service.pass(20).await;
            }
        }
        let calls = service.calls("W100001").await;
        let at = |c: &serde_json::Value| Timestamp::parse_rfc3339(c["at"].as_str().unwrap()).unwrap();
        assert!(calls.len() >= 5, "{calls:?}");
        for pair in calls.windows(2) {
            assert!(at(&pair[1]).since(at(&pair[0])).as_secs() >= 60, "{pair:?}");
        }
        assert_eq!(service.wechat_refunds("W100001").await.len(), 2);
        service.finish().await;
    }

    async fn an_empty_account_delays_the_refund_and_is_announced_once(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.wechat_control("merchant", json!({"mch_id": MCH_ID, "balance": 10})).await;
        service.paid("W200001").await;
        let refund = service.give_back_in_vain("W200001", json!({"refund_no": "W2-a", "all": true})).await;
        assert_eq!(refund["state"], "requested", "{refund}");
        assert_eq!(refund["wechat"]["err_code"], "NOTENOUGH", "{refund}");
        let mut pauses = Vec::new();
        for _ in 0..4 {
            let before = service.to_next_poll("W2-a").await.refund.queries;
            let after =
                service.until_refund("called again", "W2-a", |s| s.refund.queries.done > before.done).await.refund;
            assert_eq!(after.state, RefundState::Requested);
            pauses.push(after.queries.next_at.unwrap().since(service.clock.now()).as_secs());
        }
        assert!(pauses.windows(2).all(|p| p[1] > p[0]) && pauses[0] >= 60, "growing: {pauses:?}");
        assert_eq!(service.events("W200001").await[2..], ["refund.requested", "refund.delayed"], "one event");
        service.wechat_control("merchant", json!({"mch_id": MCH_ID, "balance": 1000})).await;
        service.to_next_poll("W2-a").await;
        let taken = service.until_refunded("W2-a", "processing").await.refund;
        assert_eq!(taken.error, None, "WeChat's words are not true any more");
        assert_eq!(service.wechat_refunds("W200001").await.len(), 1);
        service.finish().await;
    }

    async fn a_certificate_wechat_does_not_accept_delays_the_refund_and_fails_nothing(db: TestDb) {
        // The address without TLS: WeChat sees no certificate there.
        let service = TestService::new().on(db).refunds_over_plain_http().in_process().await;
        service.paid("W300001").await;
        let refund = service.give_back_in_vain("W300001", json!({"refund_no": "W3-a", "all": true})).await;
        assert_eq!((&refund["state"], &refund["wechat"]["err_code"]), (&json!("requested"), &json!("HTTP")));
        assert_eq!(service.events("W300001").await[2..], ["refund.requested", "refund.delayed"]);
        assert_eq!(service.wechat_refunds("W300001").await.len(), 0);
        service.finish().await;
    }
}

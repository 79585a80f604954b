//! The way of a refund that nothing disturbs.

use serde_json::json;
use wxpay_worker::refund::RefundState;

use crate::harness::service::TestService;
use crate::harness::within_timeout;
use crate::settling::on_both;

on_both! {
    async fn a_refund_is_accepted_then_notified_and_queried_and_only_then_refunded(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("F100001").await;
        let body = json!({"refund_no": "F100001-r1", "amount_fen": 30, "reason": "商品已售完"});
        let (status, refund) = service.give_back("F100001", body).await;
        assert_eq!((status, &refund["state"]), (200, &json!("processing")), "{refund}");
        assert!(refund["message"].as_str().unwrap().starts_with("Accepted"), "{refund}");
        let (_, order) = service.get("/v1/orders/F100001").await;
        assert_eq!(
            (&order["refunded_fen"], &order["refunds"][0]["state"]), (&json!(0), &json!("processing")), "{order}",
        );
        let [theirs] = &service.wechat_refunds("F100001").await[..] else { panic!("one refund") };
        assert_eq!((&theirs["refund_desc"], &theirs["refund_fee"]), (&json!("商品已售完"), &json!(30)));
        assert_eq!(theirs["refund_id"], refund["refund_id"]);
        let ended_at = service.clock.now();
        service.ends("F100001-r1", "SUCCESS").await;
        let done = service.until_refunded("F100001-r1", "succeeded").await.refund;
        let succeeded_at = done.succeeded_at.unwrap();
        let apart_ms = (ended_at.as_ms() - succeeded_at.as_ms()).abs();
        assert!(apart_ms < 2000, "WeChat's time: {succeeded_at}");
        let (_, order) = service.get("/v1/orders/F100001").await;
        assert_eq!((&order["refunded_fen"], &order["state"]), (&json!(30), &json!("paid")), "{order}");
        let (_, refund) = service.get("/v1/refunds/F100001-r1").await;
        assert_eq!((&refund["state"], &refund["amount_fen"]), (&json!("succeeded"), &json!(30)), "{refund}");
        let events = service.events("F100001").await;
        assert_eq!(events, ["order.payable", "order.paid", "refund.requested", "refund.succeeded"]);
        let settled = "SELECT COUNT(*) FROM notifications WHERE kind = 'refund' AND verdict = 'settled'";
        assert_eq!(service.number(settled).await, 1);
        service.finish().await;
    }

    async fn a_refund_without_notification_is_found_by_queries_after_one_five_fifteen_and_thirty_minutes(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.without_news().await;
        service.paid("F200001").await;
        service.refunding("F200001", "F200001-r1", 100).await;
        let mut pauses = Vec::new();
        for polls in 1..=5 {
            let before = service.to_next_poll("F200001-r1").await.refund;
            let after =
                service.until_refund("asked about", "F200001-r1", |s| s.refund.queries.done == polls).await.refund;
            assert_eq!(after.state, RefundState::Processing);
            let _ = before;
            pauses.push(after.queries.next_at.unwrap().since(service.clock.now()).as_secs() / 60);
        }
        assert_eq!(pauses[..4], [5, 15, 30, 60], "minutes, with some jitter");
        service.ends("F200001-r1", "SUCCESS").await;
        service.to_next_poll("F200001-r1").await;
        service.until_refunded("F200001-r1", "succeeded").await;
        let (_, order) = service.get("/v1/orders/F200001").await;
        assert_eq!(order["refunded_fen"], json!(100));
        service.finish().await;
    }

    async fn a_refund_can_be_asked_about_by_hand(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.without_news().await;
        service.paid("F300001").await;
        service.refunding("F300001", "F300001-r1", 100).await;
        service.ends("F300001-r1", "SUCCESS").await;
        assert_eq!(service.get("/v1/refunds/F300001-r1").await.1["state"], "processing");
        // On a busy machine the answer may come after the caller's wait; no poll is due.
        within_timeout("WeChat's answer", async {
            loop {
                let (status, refund) = service.get("/v1/refunds/F300001-r1?refresh=1").await;
                assert_eq!(status, 200, "{refund}");
                if refund["state"] == "succeeded" {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await;
        service.finish().await;
    }

    async fn parts_go_back_one_after_the_other_until_nothing_is_left(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("F400001").await;
        service.refunding("F400001", "part-1", 30).await;
        // Within a minute of the other WeChat would refuse it: it waits for its slot, and is never refused for that.
        let body = json!({"refund_no": "part-2", "amount_fen": 50});
        let (status, second) = service.give_back_at_once("F400001", &body).await;
        assert_eq!((status, &second["state"]), (202, &json!("requested")), "{second}");
        service.until_idle().await;
        assert_eq!(service.calls("F400001").await.len(), 1, "WeChat was not called");
        service.a_minute_later().await;
        service.to_next_poll("part-2").await;
        service.until_refunded("part-2", "processing").await;
        let (status, problem) = service.give_back("F400001", json!({"refund_no": "part-3", "amount_fen": 21})).await;
        assert_eq!(
            (status, &problem["code"], &problem["left_fen"]), (409, &json!("refund_exceeds"), &json!(20)), "{problem}",
        );
        service.a_minute_later().await;
        // Without an amount: what is left.
        let (status, rest) = service.give_back("F400001", json!({"refund_no": "part-3", "all": true})).await;
        assert_eq!((status, &rest["amount_fen"]), (200, &json!(20)), "{rest}");
        let (status, problem) = service.give_back("F400001", json!({"all": true})).await;
        assert_eq!((status, &problem["left_fen"]), (409, &json!(0)), "{problem}");
        for part in ["part-1", "part-2", "part-3"] {
            service.ends(part, "SUCCESS").await;
            service.until_refunded(part, "succeeded").await;
        }
        assert_eq!(service.get("/v1/orders/F400001").await.1["refunded_fen"], json!(100));
        service.finish().await;
    }

    async fn what_the_payers_account_cannot_take_is_abnormal_and_may_still_succeed(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("F500001").await;
        service.refunding("F500001", "F500001-r1", 40).await;
        service.ends("F500001-r1", "CHANGE").await;
        let stored = service.until_refunded("F500001-r1", "abnormal").await;
        let (_, refund) = service.get("/v1/refunds/F500001-r1").await;
        assert!(refund["message"].as_str().unwrap().contains("by hand"), "{refund}");
        let (status, problem) = service.give_back("F500001", json!({"refund_no": "other", "amount_fen": 61})).await;
        assert_eq!((status, &problem["left_fen"]), (409, &json!(60)), "its amount stays reserved: {problem}");
        let pause = stored.refund.queries.next_at.unwrap().since(service.clock.now()).as_secs();
        assert!((3600..4000).contains(&pause), "asked about slowly: {pause}");
        service.without_news().await;
        service.ends("F500001-r1", "SUCCESS").await;
        service.to_next_poll("F500001-r1").await;
        service.until_refunded("F500001-r1", "succeeded").await;
        let events = service.events("F500001").await;
        assert_eq!(events[2..], ["refund.requested", "refund.abnormal", "refund.succeeded"]);
        service.finish().await;
    }

    async fn what_wechat_closes_has_failed_for_good_and_its_amount_is_free_again(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("F600001").await;
        service.refunding("F600001", "F600001-r1", 100).await;
        service.ends("F600001-r1", "REFUNDCLOSE").await;
        service.until_refunded("F600001-r1", "failed").await;
        let (status, problem) =
            service.give_back("F600001", json!({"refund_no": "F600001-r1", "amount_fen": 100})).await;
        assert_eq!((status, &problem["code"]), (422, &json!("refund_failed")), "{problem}");
        assert_eq!(problem["wechat"]["err_code"], "REFUNDCLOSE", "{problem}");
        assert_eq!(service.get("/v1/refunds/F600001-r1").await.1["state"], "failed");
        service.a_minute_later().await;
        service.refunding("F600001", "F600001-r2", 100).await;
        service.ends("F600001-r2", "SUCCESS").await;
        service.until_refunded("F600001-r2", "succeeded").await;
        assert_eq!(service.get("/v1/orders/F600001").await.1["refunded_fen"], json!(100));
        let events = service.events("F600001").await;
        assert_eq!(events[2..], ["refund.requested", "refund.failed", "refund.requested", "refund.succeeded"]);
        service.finish().await;
    }
}

//! Questions that WeChat does not answer for hours, and what is known soon after it answers again.

use serde_json::{Value, json};
use wxpay_worker::order::OrderState;

use crate::harness::service::{TestService, jsapi};
use crate::settling::on_both;

const WEEK: std::time::Duration = std::time::Duration::from_secs(7 * 86_400 - 60);

on_both! {
    async fn an_hour_without_answers_does_not_put_the_next_question_off_to_the_expiry(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let mut body: Value = jsapi("U100001", 100);
        body["expires_at"] = json!(service.clock.now().after(WEEK).to_string());
        let (status, order) = service.post("/v1/orders", &body).await;
        assert_eq!(status, 200, "{order}");
        let lost = json!([{"on": "notify", "kind": "drop"}, {"on": "orderquery", "kind": "drop"}]);
        service.faults(lost).await;
        service.pay("U100001").await;
        // As after an hour of questions.
        let sql = "UPDATE orders SET queries_done = 7, next_query_at_ms = next_query_at_ms + 4000000";
        service.store.db().execute("test", String::from(sql), []).await.unwrap();
        let before = service.stored("U100001").await.order.queries.next_at.unwrap();
        service.skip_to(before);
        service.skip(1);
        service.until("asked in vain", "U100001", |s| s.order.queries.done == 8).await;
        service.clear_faults().await;
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        let answers_again = service.clock.now();
        loop {
            service.pass(60).await;
            if service.stored("U100001").await.order.state == OrderState::Paid {
                break;
            }
            let waited = service.clock.now().since(answers_again).as_secs();
            assert!(waited < 600, "no query for {waited} s");
        }
        service.finish().await;
    }

    async fn a_call_that_wechat_throttles_is_repeated_by_the_next_question_and_not_at_once(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.faults(json!([{"on": "unifiedorder", "kind": "rate_limit"}])).await;
        let (status, order) = service.post_waiting("/v1/orders", &jsapi("U200001", 100), 0).await;
        assert_eq!(status, 202, "{order}");
        service.until("throttled", "U200001", |s| s.order.flags.outcome_unknown).await;
        assert_eq!(service.wechat_calls("unifiedorder", "U200001").await.len(), 1, "in one attempt");
        service.clear_faults().await;
        service.skip(6);
        service.until_state("U200001", "payable").await;
        assert_eq!(service.wechat_calls("unifiedorder", "U200001").await.len(), 2);
        service.finish().await;
    }
}

//! Answers to an order that prove nothing: it stays unknown, says what WeChat said, and goes on.

use serde_json::{Value, json};
use wxpay_worker::order::OrderState;

use crate::harness::service::{API_KEY, InProcess, TestService, answer, jsapi};
use crate::settling::on_both;

impl InProcess {
    /// Asks for an order without waiting for it; answers it once its outcome is unknown.
    pub async fn place_unanswered(&self, order_no: &str) -> Value {
        let request =
            self.http.post(format!("{}/v1/orders", self.base)).bearer_auth(API_KEY).header("prefer", "wait=0");
        let request = request.header("content-type", "application/json").body(jsapi(order_no, 100).to_string());
        let (status, order) = answer(request).await.unwrap();
        // The worker may be faster than the answer: 422 says that WeChat refused.
        assert!(matches!(status, 200 | 202 | 422), "{order}");
        self.until("unknown", order_no, |s| s.order.flags.outcome_unknown || s.order.failure.is_some()).await;
        let (_, order) = self.get(&format!("/v1/orders/{order_no}")).await;
        order
    }

    /// Lets time pass until the order can be paid.
    pub async fn until_payable(&self, order_no: &str) {
        for _ in 0..20 {
            self.pass(30).await;
            if self.stored(order_no).await.order.state == OrderState::Payable {
                return;
            }
        }
        panic!("{:?}", self.stored(order_no).await.order);
    }
}

on_both! {
    async fn unsigned_words_end_no_order_and_are_its_wechat_member(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        for (n, (body, code, words)) in [
            ("<xml><return_code>FAIL</return_code><return_msg>服务器忙，请重试</return_msg></xml>", "FAIL", "服务器忙，请重试"),
            ("<xml><return_code>FAIL</return_code><return_msg>处理失败</return_msg></xml>", "FAIL", "处理失败"),
            ("<xml><retcode>1</retcode><retmsg>system error</retmsg></xml>", "UNSIGNED", "system error 1"),
            (
                "<xml><return_code>SUCCESS</return_code><result_code>FAIL</result_code>\
                 <err_code>PARAM_ERROR</err_code></xml>",
                "UNSIGNED", "PARAM_ERROR",
            ),
            ("<html><body>502 Bad Gateway</body></html>", "HTTP", "502 Bad Gateway"),
            ("", "HTTP", "the reply is empty"),
        ].into_iter().enumerate() {
            let order_no = format!("W10000{n}");
            service.faults(json!([{"on": "unifiedorder", "kind": "raw", "body": body, "times": 3}])).await;
            let order = service.place_unanswered(&order_no).await;
            assert_eq!(order["state"], "requested", "{order}");
            let wechat = json!({"err_code": code, "err_code_des": words, "unsigned": true});
            assert_eq!((&order["wechat"], &order["flags"]), (&wechat, &json!(["outcome_unknown"])), "{order}");
            service.clear_faults().await;
            service.until_payable(&order_no).await;
            let (_, order) = service.get(&format!("/v1/orders/{order_no}")).await;
            assert_eq!((&order["wechat"], &order["flags"]), (&Value::Null, &json!([])), "{order}");
            assert_eq!(order["attempts"].as_array().unwrap().len(), 1, "the same number");
        }
        service.finish().await;
    }

    async fn the_last_words_are_shown_those_of_a_signed_answer_unmarked(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.faults(json!([{"on": "unifiedorder", "kind": "system_error", "executed": false, "times": 3}])).await;
        let order = service.place_unanswered("W200001").await;
        assert_eq!(order["wechat"], json!({"err_code": "SYSTEMERROR", "err_code_des": "系统错误"}), "{order}");
        let raw = json!([{"on": "unifiedorder", "kind": "raw", "body": "busy", "times": 3}]);
        service.faults(raw).await;
        service.skip(30);
        service.until("other words", "W200001", |s| {
            s.order.attempts[0].error.as_ref().is_some_and(|e| e.message == "busy" && e.code == "HTTP")
        }).await;
        service.until_payable("W200001").await;
        service.finish().await;
    }

    async fn an_answer_that_was_lost_has_no_words(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.faults(json!([{"on": "unifiedorder", "kind": "answer_lost", "times": 3}])).await;
        let order = service.place_unanswered("W300001").await;
        assert_eq!((&order["state"], &order["wechat"]), (&json!("requested"), &Value::Null), "{order}");
        service.until_payable("W300001").await;
        service.finish().await;
    }
}

//! What WeChat said about a refund it did not clearly take or refuse.

use serde_json::json;

use crate::harness::service::TestService;
use crate::settling::on_both;

on_both! {
    async fn the_words_of_an_answer_that_proves_nothing_are_the_refunds(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("W400001").await;
        for (n, (body, code, words)) in [
            ("<xml><retcode>1</retcode><retmsg>system error</retmsg></xml>", "UNSIGNED", "system error 1"),
            (
                "<xml><return_code>SUCCESS</return_code><result_code>FAIL</result_code>\
                 <err_code>NOTENOUGH</err_code></xml>",
                "UNSIGNED", "NOTENOUGH",
            ),
            ("<html><body>502 Bad Gateway</body></html>", "HTTP", "502 Bad Gateway"),
            ("", "HTTP", "the reply is empty"),
        ].into_iter().enumerate() {
            let number = format!("words-{n}");
            // Repeated on the other host and in vain.
            service.faults(json!([{"on": "refund", "kind": "raw", "body": body, "times": 1}])).await;
            service.give_back_unheard("W400001", json!({"refund_no": number, "amount_fen": 2})).await;
            let (_, refund) = service.get(&format!("/v1/refunds/{number}")).await;
            let wechat = json!({"err_code": code, "err_code_des": words, "unsigned": true});
            assert_eq!(refund["wechat"], wechat, "{refund}");
            let message = refund["message"].as_str().unwrap();
            assert!(message.contains("not failed") && !message.contains("lost"), "{message}");
            service.clear_faults().await;
            service.poll_until(&number, "processing").await;
            assert_eq!(service.refund(&number).await.refund.error, None);
            service.ends(&number, "SUCCESS").await;
            service.until_refunded(&number, "succeeded").await;
            service.a_minute_later().await;
        }
        service.finish().await;
    }

    async fn an_answer_that_was_lost_is_called_lost(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("W500001").await;
        service.faults(json!([{"on": "refund", "kind": "answer_lost", "times": 2}])).await;
        service.give_back_unheard("W500001", json!({"refund_no": "W5-a", "amount_fen": 2})).await;
        let (_, refund) = service.get("/v1/refunds/W5-a").await;
        assert!(refund["message"].as_str().unwrap().contains("answer was lost"), "{refund}");
        assert!(refund["wechat"].is_null(), "{refund}");
        service.clear_faults().await;
        service.poll_until("W5-a", "processing").await;
        service.ends("W5-a", "SUCCESS").await;
        service.until_refunded("W5-a", "succeeded").await;
        service.finish().await;
    }
}

//! Refusals that prove nothing: they are unsigned, they deny a payment that our ledger proves, or people can mend what
//! they are about. None fails a refund.

use serde_json::{Value, json};
use wxpay_worker::refund::RefundState;

use crate::harness::service::{InProcess, TestService};
use crate::settling::on_both;

impl InProcess {
    /// WeChat refuses refunds with this code.
    async fn refuses(&self, err_code: &str, times: Option<u32>, executed: bool) {
        let fault =
            json!({"on": "refund", "kind": "refuse", "err_code": err_code, "times": times, "executed": executed});
        self.faults(json!([fault])).await;
    }

    /// Asks for all of an order's money back, which WeChat does not take yet.
    async fn waits(&self, order_no: &str, refund_no: &str) -> Value {
        let (status, refund) = self.give_back(order_no, json!({"refund_no": refund_no, "all": true})).await;
        assert_eq!((status, &refund["state"]), (202, &json!("requested")), "{refund}");
        refund
    }
}

on_both! {
    async fn unsigned_words_are_queried_and_what_wechat_executed_all_the_same_is_found(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("U100001").await;
        service.refuses("FAIL", Some(1), true).await;
        let (status, refund) = service.give_back("U100001", json!({"refund_no": "U1-a", "all": true})).await;
        assert_eq!((status, &refund["state"]), (200, &json!("processing")), "{refund}");
        service.ends("U1-a", "SUCCESS").await;
        service.until_refunded("U1-a", "succeeded").await;
        service.finish().await;
    }

    async fn unsigned_words_delay_the_refund_and_fail_nothing(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("U200001").await;
        service.refuses("FAIL", Some(3), false).await;
        // Whether WeChat then knows no such refund or does not answer at all.
        service.faults(json!([{"on": "refundquery", "kind": "answer_lost", "times": 1}])).await;
        let refund = service.waits("U200001", "U2-a").await;
        assert_eq!(refund["wechat"]["err_code"], "FAIL", "{refund}");
        for _ in 0..2 {
            let before = service.to_next_poll("U2-a").await;
            let after = service.until_polled(&before).await.refund;
            assert_eq!(after.state, RefundState::Requested);
            assert!(after.queries.next_at.unwrap().since(service.clock.now()).as_secs() >= 60);
        }
        assert_eq!(service.events("U200001").await[2..], ["refund.requested", "refund.delayed"], "one event");
        assert_eq!(service.number("SELECT reserved_fen FROM refund_totals").await, 100);
        // Even a refusal with a signature counts only when the call before it has had its time.
        service.clear_faults().await;
        service.refuses("USER_ACCOUNT_ABNORMAL", None, false).await;
        let before = service.to_next_poll("U2-a").await;
        assert_eq!(service.until_polled(&before).await.refund.state, RefundState::Requested, "not settled yet");
        let before = service.to_next_poll("U2-a").await;
        assert_eq!(service.until_polled(&before).await.refund.state, RefundState::Failed);
        assert_eq!(service.number("SELECT reserved_fen FROM refund_totals").await, 0);
        service.finish().await;
    }

    async fn what_people_must_mend_delays_the_refund_and_what_is_wrong_in_the_request_fails_it(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        for (n, err_code) in ["CERT_ERROR", "NOAUTH"].into_iter().enumerate() {
            let (order_no, refund_no) = (format!("U30000{n}"), format!("U3-{n}"));
            service.paid(&order_no).await;
            service.refuses(err_code, Some(1), false).await;
            let refund = service.waits(&order_no, &refund_no).await;
            assert_eq!(refund["wechat"]["err_code"], err_code, "{refund}");
            assert_eq!(service.events(&order_no).await[2..], ["refund.requested", "refund.delayed"]);
            service.to_next_poll(&refund_no).await;
            service.until_refunded(&refund_no, "processing").await;
        }
        service.paid("U300009").await;
        service.refuses("PARAM_ERROR", Some(1), false).await;
        let (status, problem) = service.give_back("U300009", json!({"refund_no": "U3-p", "all": true})).await;
        assert_eq!((status, &problem["code"]), (422, &json!("refund_failed")), "{problem}");
        service.finish().await;
    }

    async fn a_payment_that_wechats_copies_do_not_know_yet_is_refunded_once_they_do(db: TestDb) {
        let service = TestService::new().on(db).merchant("paid_late = \"refund\"").refunds().in_process().await;
        service.place("U400001").await;
        service.pass(301).await;
        service.post("/v1/orders/U400001/close", &Value::Null).await;
        service.until_state("U400001", "closed").await;
        service.refuses("ORDERNOTEXIST", Some(1), false).await;
        service.refuses("INVALID_TRANSACTIONID", Some(1), false).await;
        service.wechat_control("pay", json!({"out_trade_no": "U400001", "late": true})).await;
        service.until_state("U400001", "paid").await;
        let (_, order) = service.get("/v1/orders/U400001").await;
        let refund_no = order["refunds"][0]["refund_no"].as_str().unwrap().to_owned();
        for err_code in ["ORDERNOTEXIST", "INVALID_TRANSACTIONID"] {
            let before = service.to_next_poll(&refund_no).await;
            let after = service.until_polled(&before).await.refund;
            assert_eq!((after.state, after.error.unwrap().code.as_str()), (RefundState::Requested, err_code));
        }
        service.to_next_poll(&refund_no).await;
        service.until_refunded(&refund_no, "processing").await;
        assert_eq!(
            service.events("U400001").await.iter().filter(|n| *n == "refund.delayed").count(), 2, "one per reason",
        );
        service.a_minute_later().await;
        service.ends(&refund_no, "SUCCESS").await;
        service.until_refunded(&refund_no, "succeeded").await;
        service.finish().await;
    }
}

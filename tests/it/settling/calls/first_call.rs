//! The first call of a number: one that finds the number used, and one that is not made at all.

use serde_json::{Value, json};
use wxpay_worker::clock::Clock;
use wxpay_worker::ids::AppId;
use wxpay_worker::order::{AttemptState, OrderState};

use crate::harness::service::{APP_ID, InProcess, TestService, jsapi, signed_refusal};
use crate::settling::held::{accept, classes, texts, yesterday};
use crate::settling::on_both;
use crate::wechat::server::unreachable;

impl InProcess {
    /// Calls of the unified order are put off: for less than two minutes, because a pause that ends later is not
    /// believed.
    async fn put_calls_off(&mut self) {
        // After the first call the merchant's row is there; a process has permits in hand for the next ones.
        self.place("F900001").await;
        self.throttle(Clock::system().now().as_ms() + 115_000).await;
        self.restart_with(|_| {}).await;
    }

    /// The pause is over; a process knows until when it lasted.
    async fn make_calls_again(&mut self) {
        self.throttle(0).await;
        self.restart_with(|_| {}).await;
    }

    /// No call of the order was made, and none can have been executed.
    async fn until_not_called(&self, order_no: &str) {
        let not_called = |s: &wxpay_worker::store::StoredOrder| {
            s.order.attempts[0].state == AttemptState::Unknown && s.order.attempts[0].setup_refusals == Some(0)
        };
        self.until("not called", order_no, not_called).await;
    }

    /// WeChat cannot be reached from now on.
    async fn lose_wechat(&mut self) {
        self.restart_with(|config| {
            config.wechat.pay_url = unreachable();
            config.wechat.pay_backup_url = unreachable();
        })
        .await;
    }

    async fn find_wechat(&mut self) {
        let url = self.wechat_url.clone();
        self.restart_with(|config| (config.wechat.pay_url, config.wechat.pay_backup_url) = (url.clone(), url)).await;
    }
}

on_both! {
    async fn a_payment_that_the_first_call_finds_is_held_and_can_be_accepted(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        // The second one is no older than clocks may differ.
        for (order_no, how) in [("F100001", json!({"paid_at": yesterday(&service)})), ("F100002", json!({}))] {
            let paid = service.sold_elsewhere(order_no, how).await;
            let (status, order) = service.post("/v1/orders", &jsapi(order_no, 100)).await;
            assert_eq!((status, &order["state"], &order["credited"]), (200, &json!("requested"), &json!(false)));
            assert_eq!((&order["flags"], &order["pay_params"]), (&json!(["paid_before_order"]), &Value::Null));
            assert_eq!(classes(&service, order_no).await, (texts(&["held before_order"]), texts(&["payment ->held"])));
            assert_eq!(service.events(order_no).await, ["payment.held"]);
            let calls = [
                service.wechat_calls("unifiedorder", order_no).await.len(),
                service.wechat_calls("orderquery", order_no).await.len(),
            ];
            assert_eq!(calls, [2, 1], "another system's call and ours, and our query");
            let (status, problem) = service.get(&format!("/v1/orders/{order_no}/pay-params")).await;
            assert_eq!((status, &problem["code"]), (409, &json!("order_held")), "{problem}");
            assert_eq!(service.stored(order_no).await.order.attempts.len(), 1);
            if order_no == "F100002" {
                let (status, order) = accept(&service, order_no, paid["transaction_id"].as_str().unwrap()).await;
                assert_eq!((status, &order["state"]), (200, &json!("paid")), "{order}");
                assert_eq!(service.events(order_no).await, ["payment.held", "order.paid"]);
            }
        }
        service.skip_to(service.stored("F100001").await.order.expires_at);
        service.until_state("F100001", "closed").await;
        assert_eq!(service.events("F100001").await, ["payment.held", "order.closed"]);
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger WHERE order_no = 'F100001'").await, 1);
        service.finish().await;
    }

    async fn what_went_back_of_a_payment_that_the_first_call_finds_is_learnt(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        service.sold_elsewhere("F150001", json!({})).await;
        service.wechat_control("refunds/console", json!({"out_trade_no": "F150001", "refund_fee": 40})).await;
        let (status, order) = service.post("/v1/orders", &jsapi("F150001", 100)).await;
        assert_eq!((status, &order["flags"]), (200, &json!(["paid_before_order"])), "{order}");
        service.skip(2);
        service.until_number("the refund", "SELECT COUNT(*) FROM refunds", |n| n == 1).await;
        service.finish().await;
    }

    async fn a_number_that_another_system_has_not_been_paid_for_is_left_alone(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.placed_elsewhere("F160001").await;
        let (status, problem) = service.post("/v1/orders", &jsapi("F160001", 100)).await;
        assert_eq!(status, 422, "{problem}");
        assert_eq!(service.wechat_calls("closeorder", "F160001").await.len(), 0, "it is not ours to close");
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger").await, 0);
        service.finish().await;
    }

    async fn money_on_a_number_that_failed_here_is_found_when_it_is_asked_about(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        service.placed_elsewhere("F170001").await;
        let (status, problem) = service.post("/v1/orders", &jsapi("F170001", 100)).await;
        assert_eq!(status, 422, "{problem}");
        service.wechat_control("pay", json!({"out_trade_no": "F170001"})).await;
        // A busy machine may have the answer after the caller's three seconds.
        service.found("the payment", || async {
            let (status, order) = service.get("/v1/orders/F170001?refresh=1").await;
            assert_eq!(status, 200, "{order}");
            (order["payments"].as_array().map(Vec::len) == Some(1)).then_some(())
        }).await;
        let entered = "SELECT COUNT(*) FROM ledger WHERE order_no = 'F170001' AND entry = 'payment'";
        assert_eq!(service.number(entered).await, 1);
        assert_eq!(service.wechat_calls("closeorder", "F170001").await.len(), 0, "it is not ours to close");
        service.finish().await;
    }

    async fn a_first_call_that_is_put_off_leaves_a_number_that_was_never_used(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.put_calls_off().await;
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        service.sold_elsewhere("F200003", json!({})).await;
        for order_no in ["F200001", "F200002", "F200003"] {
            service.place_unanswered(order_no).await;
            service.until_not_called(order_no).await;
        }
        // Its polls are no queries: WeChat has nothing to tell.
        service.pass_times(20, 3).await;
        for order_no in ["F200001", "F200002", "F200003"] {
            service.until_not_called(order_no).await;
            assert_eq!(service.wechat_calls("orderquery", order_no).await.len(), 0, "{order_no}");
        }
        let refused = json!([{
            "on": "unifiedorder", "kind": "raw", "body": signed_refusal("NOAUTH", "商户无此接口权限"),
            "out_trade_no": "F200002",
        }]);
        service.faults(refused).await;
        service.make_calls_again().await;
        service.until_payable("F200001").await;
        // The first refusal is about its first call, and counts.
        let failed = service.until_state("F200002", "failed").await.order;
        assert_eq!(failed.failure.unwrap().code, "NOAUTH");
        assert_eq!(service.wechat_calls("unifiedorder", "F200002").await.len(), 1);
        service.until("held", "F200003", |s| s.order.flags.paid_before_order).await;
        assert_eq!(classes(&service, "F200003").await.0, texts(&["held before_order"]));
        assert_eq!(service.wechat_calls("unifiedorder", "F200001").await.len(), 1);
        assert_eq!(service.events("F200002").await, ["order.failed"]);
        service.finish().await;
    }

    async fn what_was_put_off_goes_on_by_the_app_that_is_configured_then(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.put_calls_off().await;
        service.restart_with(|config| config.apps[0].app_id = AppId::parse("wx0000000000000001").unwrap()).await;
        service.place_unanswered("F250001").await;
        service.until_not_called("F250001").await;
        service.restart_with(|config| config.apps[0].app_id = AppId::parse(APP_ID).unwrap()).await;
        service.make_calls_again().await;
        service.until_payable("F250001").await;
        let stored = service.stored("F250001").await.order;
        assert_eq!(stored.attempts[0].appid.as_str(), APP_ID);
        assert_eq!(service.wechat_order("F250001").await["appid"], APP_ID);
        service.finish().await;
    }

    async fn calls_without_a_connection_leave_a_number_that_was_never_used(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.lose_wechat().await;
        service.place_unanswered("F300001").await;
        service.until_not_called("F300001").await;
        service.pass_times(20, 2).await;
        service.until_not_called("F300001").await;
        let refused = signed_refusal("NOAUTH", "商户无此接口权限");
        service.faults(json!([{"on": "unifiedorder", "kind": "raw", "body": refused, "times": 1}])).await;
        service.find_wechat().await;
        service.pass(301).await;
        let failed = service.until_state("F300001", "failed").await.order;
        assert_eq!(failed.failure.unwrap().code, "NOAUTH", "the first call that reached WeChat");
        service.finish().await;
    }

    async fn a_call_without_a_connection_does_not_unmark_what_waits_for_the_setup(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.restart_with(|config| config.apps[0].app_id = AppId::parse("wx0000000000000001").unwrap()).await;
        service.place_unanswered("F350001").await;
        service.until_not_called("F350001").await;
        service.lose_wechat().await;
        service.pass_times(30, 3).await;
        service.until_not_called("F350001").await;
        service.restart_with(|config| config.apps[0].app_id = AppId::parse(APP_ID).unwrap()).await;
        service.find_wechat().await;
        service.until_payable("F350001").await;
        service.pay("F350001").await;
        let paid = service.until_state("F350001", "paid").await.order;
        assert_eq!((paid.state, paid.attempts[0].appid.as_str()), (OrderState::Paid, APP_ID));
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger").await, 1);
        service.finish().await;
    }

    async fn a_call_without_an_answer_after_one_that_was_put_off_may_have_been_executed(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.put_calls_off().await;
        service.place_unanswered("F400001").await;
        service.until_not_called("F400001").await;
        service.faults(json!([{"on": "unifiedorder", "kind": "answer_lost", "times": 3}])).await;
        service.make_calls_again().await;
        service.skip(10);
        service.until("no answer", "F400001", |s| s.order.attempts[0].setup_refusals.is_none()).await;
        assert_eq!(service.stored("F400001").await.order.state, OrderState::Requested);
        // It is at WeChat: a refusal of the next call ends nothing.
        let refused = signed_refusal("NOAUTH", "商户无此接口权限");
        service.faults(json!([{"on": "unifiedorder", "kind": "raw", "body": refused, "times": 1}])).await;
        service.until_payable("F400001").await;
        assert_eq!(service.stored("F400001").await.order.attempts.len(), 1);
        service.finish().await;
    }
}

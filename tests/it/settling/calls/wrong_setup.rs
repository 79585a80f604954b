//! WeChat refuses the merchant's own key, app, number or address: no order fails for it, and each goes on under its
//! number once it is corrected. One order that is refused alone does fail.

use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::clock::Clock;
use wxpay_worker::ids::{AppId, MchId, MerchantKey};
use wxpay_worker::order::{AttemptState, OrderState};
use wxpay_worker::secret::V2Key;
use wxpay_worker::store::StoredOrder;

use crate::harness::service::{
    API_KEY, APP_ID, InProcess, KEY, MCH_ID, OTHER_KEY, TestService, answer, jsapi, signed_refusal,
};
use crate::settling::on_both;

const FAULTS: &str = "SELECT COUNT(*) FROM merchant_faults";

impl InProcess {
    pub async fn restart_with_key(&mut self, key: &str) {
        self.restart_with(|config| config.merchants[0].v2_key = V2Key::parse(key).unwrap()).await;
    }

    async fn faults_by_name(&self, fault: &str) -> i64 {
        self.number(&format!("{FAULTS} WHERE merchant = 'main' AND fault = '{fault}' AND scope = 'calls'")).await
    }

    /// Lets time pass, some of it at a time, so that what is due is done.
    pub async fn pass_times(&self, seconds: u64, times: u32) {
        for _ in 0..times {
            self.pass(seconds).await;
        }
    }

    /// No unified order of any process before this time of the database.
    pub(super) async fn throttle(&self, until_ms: i64) {
        let sql = format!("UPDATE call_rates SET resume_at_ms = {until_ms} WHERE api = 'unifiedorder'");
        assert_eq!(self.store.db().execute("test", sql, []).await.unwrap(), 1);
    }

    /// The calls of the unified order that WeChat could attribute to a number.
    async fn placed(&self, order_no: &str) -> usize {
        self.wechat_calls("unifiedorder", order_no).await.len()
    }
}

on_both! {
    async fn orders_under_a_wrong_key_wait_and_are_paid_under_their_numbers_once_it_is_right(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.restart_with_key(OTHER_KEY).await;
        let numbers = ["K100001", "K100002", "K100003"];
        for order_no in numbers {
            let order = service.place_unanswered(order_no).await;
            assert_eq!(order["state"], "requested", "{order}");
            assert_eq!(order["flags"], json!(["outcome_unknown"]), "{order}");
            let wechat = json!({"err_code": "FAIL", "err_code_des": "签名错误", "unsigned": true});
            assert_eq!(order["wechat"], wechat, "{order}");
        }
        assert_eq!((service.faults_by_name("signature").await, service.number(FAULTS).await), (1, 1));
        service.pass_times(40, 8).await;
        for order_no in numbers {
            let stored = service.stored(order_no).await.order;
            assert_eq!((stored.state, stored.attempts[0].state), (OrderState::Requested, AttemptState::Unknown));
        }
        service.restart_with_key(KEY).await;
        for order_no in numbers {
            service.until_payable(order_no).await;
            let (_, order) = service.get(&format!("/v1/orders/{order_no}")).await;
            assert_eq!((&order["wechat"], &order["flags"]), (&Value::Null, &json!([])), "{order}");
            let attempts = json!([{"out_trade_no": order_no, "trade_type": "JSAPI", "state": "payable"}]);
            assert_eq!(order["attempts"], attempts);
        }
        service.until_number("the end of the fault", FAULTS, |n| n == 0).await;
        service.pay("K100001").await;
        service.until_state("K100001", "paid").await;
        assert_eq!(service.events("K100001").await, ["order.payable", "order.paid"]);
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger WHERE order_no = 'K100001'").await, 1, "credited once");
        service.finish().await;
    }

    async fn a_call_that_is_put_off_changes_nothing_of_an_order_that_waits(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.restart_with_key(OTHER_KEY).await;
        service.place_unanswered("K150001").await;
        let refused = |s: &StoredOrder| s.order.attempts[0].setup_refusals == Some(0);
        service.until("refused", "K150001", refused).await;
        let later = Clock::system().now().as_ms() + 115_000;
        service.throttle(later).await;
        service.pass_times(40, 3).await;
        assert_eq!(service.stored("K150001").await.order.attempts[0].setup_refusals, Some(0));
        service.throttle(0).await;
        service.restart_with_key(KEY).await;
        service.until_payable("K150001").await;
        service.finish().await;
    }

    async fn what_waits_goes_on_within_seconds_of_the_mend_and_not_at_its_own_pace(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.restart_with_key(OTHER_KEY).await;
        service.place_unanswered("K200001").await;
        // The pauses of its own polls have grown to minutes.
        service.until("polled often", "K200001", |stored| {
            service.skip(30);
            stored.order.queries.next_at.is_some_and(|at| at.since(service.clock.now()) >= Duration::from_secs(200))
        }).await;
        service.restart_with_key(KEY).await;
        service.skip(6);
        service.until_number("the end of the fault", FAULTS, |n| n == 0).await;
        service.skip(2);
        service.until_state("K200001", "payable").await;
        service.finish().await;
    }

    async fn orders_under_wrong_numbers_of_merchant_and_app_go_on_by_the_right_ones(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        let right = (MchId::parse(MCH_ID).unwrap(), AppId::parse(APP_ID).unwrap());
        let wrong = (MchId::parse("1900009999").unwrap(), AppId::parse("wx0000000000000001").unwrap());
        for (order_no, mch_id, app_id, fault, words) in [
            ("K300001", &wrong.0, &right.1, "mch_id", "mch_id错误"),
            ("K300002", &right.0, &wrong.1, "app_id", "appid不存在"),
        ] {
            service.restart_with(|config| {
                config.merchants[0].mch_id = mch_id.clone();
                config.apps[0].app_id = app_id.clone();
            }).await;
            let order = service.place_unanswered(order_no).await;
            assert_eq!((&order["state"], &order["wechat"]["err_code_des"]), (&json!("requested"), &json!(words)));
            assert_eq!(service.faults_by_name(fault).await, 1);
            service.pass_times(30, 4).await;
            assert_eq!(service.stored(order_no).await.order.state, OrderState::Requested);
            service.restart_with(|config| {
                config.merchants[0].mch_id = right.0.clone();
                config.apps[0].app_id = right.1.clone();
            }).await;
            service.until_payable(order_no).await;
            service.pay(order_no).await;
            let paid = service.until_state(order_no, "paid").await.order;
            assert!(paid.flags.names().is_empty() && paid.attempts.len() == 1, "{paid:?}");
            service.until_number("the end of the fault", FAULTS, |n| n == 0).await;
        }
        service.finish().await;
    }

    async fn a_payment_made_under_a_wrong_key_is_credited_once_after_the_mend(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.place("K900001").await;
        service.restart_with_key(OTHER_KEY).await;
        service.pay("K900001").await;
        // WeChat's notification is answered FAIL, and the order's polls are refused.
        service.pass_times(40, 6).await;
        assert_eq!(service.stored("K900001").await.order.state, OrderState::Payable);
        assert_eq!(service.faults_by_name("signature").await, 1, "found by a poll");
        service.restart_with_key(KEY).await;
        service.pass_times(60, 6).await;
        service.until_state("K900001", "paid").await;
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger").await, 1);
        assert_eq!(service.events("K900001").await, ["order.payable", "order.paid"]);
        service.finish().await;
    }

    async fn an_order_past_its_expiry_is_neither_closed_nor_failed_by_a_wrong_key(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.place("K400001").await;
        service.restart_with_key(OTHER_KEY).await;
        service.place_unanswered("K400002").await;
        let expires_at = service.stored("K400002").await.order.expires_at;
        service.skip_to(expires_at);
        service.pass_times(130, 5).await;
        let payable = service.stored("K400001").await.order;
        assert_eq!((payable.state, payable.attempts[0].state), (OrderState::Payable, AttemptState::Payable));
        let waiting = service.stored("K400002").await.order;
        assert_eq!((waiting.state, waiting.attempts[0].state), (OrderState::Requested, AttemptState::Unknown));
        service.restart_with_key(KEY).await;
        service.pass_times(301, 3).await;
        for order_no in ["K400001", "K400002"] {
            service.until_state(order_no, "closed").await;
        }
        assert_eq!(service.placed("K400002").await, 0, "its time was over before WeChat knew of it");
        service.finish().await;
    }

    async fn an_order_whose_app_alone_is_wrong_fails_after_three_tries(db: TestDb) {
        let mut service = TestService::new().on(db).mini_program().in_process().await;
        service.restart_with(|config| config.apps[1].app_id = AppId::parse("wx0000000000000001").unwrap()).await;
        let mut content = jsapi("K500001", 100);
        content["app"] = json!("mini");
        let request = service.http.post(format!("{}/v1/orders", service.base)).bearer_auth(API_KEY);
        let request = request.header("content-type", "application/json").header("prefer", "wait=0");
        let (status, order) = answer(request.body(content.to_string())).await.unwrap();
        assert_eq!(status, 202, "{order}");
        let waiting = service.until("refused", "K500001", |s| s.order.attempts[0].setup_refusals == Some(1)).await;
        assert_eq!(waiting.order.state, OrderState::Requested, "the first refusal ends nothing");
        assert_eq!(service.number(FAULTS).await, 0, "WeChat accepts the merchant");
        service.pass_times(20, 5).await;
        let failed = service.until_state("K500001", "failed").await.order;
        assert_eq!(failed.failure.unwrap().code, "APPID_NOT_EXIST");
        assert_eq!(service.placed("K500001").await, 3);
        assert_eq!(service.number(FAULTS).await, 0);
        service.place("K500002").await;
        service.finish().await;
    }

    async fn a_missing_permission_fails_the_order_at_once(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let body = signed_refusal("NOAUTH", "商户无此接口权限");
        service.faults(json!([{"on": "unifiedorder", "kind": "raw", "body": body, "times": 1}])).await;
        service.place_unanswered("K600001").await;
        assert_eq!(service.until_state("K600001", "failed").await.order.failure.unwrap().code, "NOAUTH");
        assert_eq!(service.number(FAULTS).await, 0);
        service.finish().await;
    }

    async fn an_address_that_is_not_listed_is_the_merchants_only_if_the_probe_is_refused_too(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        // The unified orders of one number alone.
        service.faults(json!([{"on": "unifiedorder", "kind": "foreign_address", "out_trade_no": "K700001"}])).await;
        service.place_unanswered("K700001").await;
        service.pass_times(20, 5).await;
        assert_eq!(service.until_state("K700001", "failed").await.order.failure.unwrap().code, "FAIL");
        assert_eq!((service.placed("K700001").await, service.number(FAULTS).await), (3, 0));
        service.clear_faults().await;
        // All calls; the last probe's result holds for a second.
        service.skip(2);
        let all = ["unifiedorder", "orderquery", "closeorder"];
        let everywhere = all.map(|on| json!({"on": on, "kind": "foreign_address"}));
        service.faults(json!(everywhere)).await;
        let order = service.place_unanswered("K700002").await;
        assert_eq!(order["wechat"]["err_code_des"], "此IP地址不允许调用接口", "{order}");
        assert_eq!(service.faults_by_name("ip").await, 1);
        service.pass_times(20, 6).await;
        assert_eq!(service.stored("K700002").await.order.state, OrderState::Requested);
        service.clear_faults().await;
        // WeChat's side was corrected: no restart is needed.
        service.skip(61);
        service.until_number("the end of the fault", FAULTS, |n| n == 0).await;
        service.until_payable("K700002").await;
        service.finish().await;
    }

    async fn what_waited_becomes_due_one_after_the_other(db: TestDb) {
        let mut service = TestService::new().on(db).roles("ingress,worker,relay").in_process().await;
        service.restart_with_key(OTHER_KEY).await;
        for n in 1..=4 {
            service.place_unanswered(&format!("K80000{n}")).await;
        }
        let merchant = MerchantKey::parse("main").unwrap();
        let planned = service.stored("K800004").await.order.queries.next_at;
        let (now, pause) = (service.clock.now(), Duration::from_millis(50));
        assert_eq!(service.store.advance_waiting_orders(&merchant, now, pause, 3).await.unwrap(), 3);
        for n in 1..=3 {
            let due = service.stored(&format!("K80000{n}")).await.order.queries.next_at;
            assert_eq!(due, Some(now.after(pause * (n - 1))), "{n}");
        }
        assert_eq!(service.stored("K800004").await.order.queries.next_at, planned, "the others keep their time");
        let other = MerchantKey::parse("other").unwrap();
        assert_eq!(service.store.advance_waiting_orders(&other, now, pause, 3).await.unwrap(), 0);
        service.finish().await;
    }
}

//! Several attempts of one order: another way to pay, a later expiry, and money on both.

use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::order::AttemptState;
use wxpay_worker::trade::TradeType;

use super::on_both;
use crate::harness::service::{TestService, jsapi};
use crate::harness::within_timeout;

const FIVE_MINUTES: u64 = 300;

on_both! {
    async fn another_trade_type_closes_the_old_attempt_first(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("S100001").await;
        let native = json!({"trade_type": "NATIVE", "product_id": "tea"});
        let (status, problem) = service.post("/v1/orders/S100001/attempts", &native).await;
        assert_eq!((status, &problem["code"]), (409, &json!("attempt_open")), "{problem}");
        assert_eq!(service.stored("S100001").await.order.attempts.len(), 1, "nothing was changed");
        service.pass(FIVE_MINUTES + 1).await;
        let (status, order) = service.post("/v1/orders/S100001/attempts", &native).await;
        assert_eq!(status, 200, "{order}");
        assert!(order["pay_params"]["code_url"].as_str().is_some_and(|url| url.starts_with("weixin://")), "{order}");
        let stored = service.stored("S100001").await.order;
        let states: Vec<_> = stored.attempts.iter().map(|a| (a.trade_type, a.state)).collect();
        assert_eq!(states, [(TradeType::Jsapi, AttemptState::Closed), (TradeType::Native, AttemptState::Payable)]);
        assert_eq!(service.wechat_order("S100001").await["state"], "CLOSED", "the old number takes no money");
        let second = stored.attempts[1].out_trade_no.to_string();
        service.pay(&second).await;
        let paid = service.until_state("S100001", "paid").await;
        assert!(paid.order.flags.names().is_empty(), "{:?}", paid.order.flags);
        assert_eq!(service.events("S100001").await, ["order.payable", "order.payable", "order.paid"]);
        service.finish().await;
    }

    async fn pay_params_switch_the_trade_type_with_what_the_order_has(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("S200001").await;
        service.pass(FIVE_MINUTES + 1).await;
        let (status, answer) = service.get("/v1/orders/S200001/pay-params?trade_type=NATIVE").await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!((&answer["trade_type"], answer["out_trade_no"] == "S200001"), (&json!("NATIVE"), false), "{answer}");
        let (_, again) = service.get("/v1/orders/S200001/pay-params?trade_type=NATIVE").await;
        assert_eq!(again["out_trade_no"], answer["out_trade_no"], "asking again opens no third attempt");
        service.finish().await;
    }

    async fn an_expired_order_is_reopened_under_a_new_number_with_a_later_expiry(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("S300001").await;
        let first = service.stored("S300001").await.order.expires_at;
        service.skip_to(first);
        service.until_state("S300001", "closed").await;
        let until = service.clock.now().after(Duration::from_secs(3600));
        let body = json!({"expires_at": until.to_string()});
        let (status, order) = service.post("/v1/orders/S300001/attempts", &body).await;
        assert_eq!((status, &order["state"]), (200, &json!("payable")), "{order}");
        let stored = service.stored("S300001").await.order;
        assert!(stored.expires_at > first);
        assert_eq!(stored.attempts.len(), 2);
        assert_eq!(service.wechat_order("S300001").await["state"], "CLOSED");
        service.pay(stored.attempts[1].out_trade_no.as_str()).await;
        let paid = service.until_state("S300001", "paid").await.order;
        assert!(!paid.flags.paid_late, "there was time again");
        let events = service.events("S300001").await;
        assert_eq!(events, ["order.payable", "order.closed", "order.payable", "order.paid"]);
        service.finish().await;
    }

    async fn an_order_closed_before_its_time_stays_closed(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("S600001").await;
        service.pass(FIVE_MINUTES + 1).await;
        service.post("/v1/orders/S600001/close", &Value::Null).await;
        service.until_state("S600001", "closed").await;
        let (status, problem) = service.post("/v1/orders/S600001/attempts", &json!({})).await;
        assert_eq!((status, &problem["code"]), (409, &json!("order_ended")), "{problem}");
        service.finish().await;
    }

    async fn a_payment_of_the_old_attempt_while_it_is_switched_is_the_orders_payment(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("S400001").await;
        service.pass(FIVE_MINUTES + 1).await;
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        service.pay("S400001").await;
        let (status, answer) = service.get("/v1/orders/S400001/pay-params?trade_type=NATIVE").await;
        assert_eq!((status, &answer["code"]), (409, &json!("order_ended")), "{answer}");
        let paid = service.until_state("S400001", "paid").await.order;
        assert_eq!(paid.attempts.len(), 1, "no second number was opened");
        service.finish().await;
    }

    async fn a_switch_that_is_asked_for_twice_at_once_opens_one_attempt(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("S700001").await;
        service.pass(FIVE_MINUTES + 1).await;
        // Slow enough that the second request finds the first one under way.
        service.faults(json!([{"on": "closeorder", "kind": "slow", "delay_ms": 700, "times": 1}])).await;
        let path = "/v1/orders/S700001/pay-params?trade_type=NATIVE";
        let (first, second) = tokio::join!(service.get(path), service.get(path));
        assert_eq!((first.0, second.0), (200, 200), "{first:?} {second:?}");
        assert_eq!(first.1["out_trade_no"], second.1["out_trade_no"]);
        assert_eq!(service.stored("S700001").await.order.attempts.len(), 2);
        service.finish().await;
    }

    async fn of_two_payers_who_switch_at_once_one_gets_parameters_and_the_other_is_answered_to_wait(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("S710001").await;
        service.pass(FIVE_MINUTES + 1).await;
        service.faults(json!([{"on": "closeorder", "kind": "slow", "delay_ms": 700, "times": 1}])).await;
        let path = "/v1/orders/S710001/attempts";
        let [one, other] = [0, 1].map(|n| json!({"openid": format!("oUpF8uMuAJO_M2pxb1Q9zNjWeS6{n}")}));
        let (first, second) = tokio::join!(service.post(path, &one), service.post(path, &other));
        let mut statuses = [first.0, second.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{first:?} {second:?}");
        let (given, refused) = if first.0 == 200 { (one, second.1) } else { (other, first.1) };
        assert_eq!(refused["code"], "attempt_open", "{refused}");
        let stored = service.stored("S710001").await;
        assert_eq!(stored.order.attempts.len(), 2);
        assert_eq!(json!(stored.params[1].params["openid"]), given["openid"], "the parameters went to their payer");
        service.finish().await;
    }

    async fn a_limit_at_wechat_delays_a_new_attempt_and_does_not_fail_it(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("S800001").await;
        service.pass(FIVE_MINUTES + 1).await;
        let long = json!({"trade_type": "NATIVE", "product_id": "x".repeat(32)});
        service.faults(json!([{"on": "unifiedorder", "kind": "rate_limit", "times": 1}])).await;
        let (status, order) = service.post_waiting("/v1/orders/S800001/attempts", &long, 0).await;
        // A limit is not a refusal for good: the attempt converges all the same, when it is asked about.
        assert_eq!(status, 202, "{order}");
        service.until("throttled", "S800001", |s| s.order.flags.outcome_unknown).await;
        service.skip(6);
        service.until("the new attempt", "S800001", |s| {
            s.order.current().is_some_and(|a| a.n == 2 && a.state == AttemptState::Payable)
        }).await;
        service.finish().await;
    }

    async fn slow_money_on_a_switched_attempt_is_found_by_asking(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("S900001").await;
        service.pass(FIVE_MINUTES + 1).await;
        let (status, answer) = service.get("/v1/orders/S900001/pay-params?trade_type=NATIVE").await;
        assert_eq!(status, 200, "{answer}");
        service.faults(json!([{"on": "notify", "kind": "drop", "times": null}])).await;
        service.wechat_control("pay", json!({"out_trade_no": "S900001", "late": true})).await;
        let next = service.stored("S900001").await.order.queries.next_at.unwrap();
        service.skip_to(next);
        let paid = service.until_state("S900001", "paid").await.order;
        assert_eq!(paid.attempts[0].state, AttemptState::Paid);
        service.finish().await;
    }

    async fn a_number_that_gets_no_fresh_prepay_id_makes_way_for_another(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let mut body = jsapi("S120001", 100);
        body["trade_type"] = json!("MWEB");
        body["client_ip"] = json!("203.0.113.7");
        body["scene_info"] = json!({"h5_info": {"type": "Wap", "wap_url": "https://example.com", "wap_name": "w"}});
        body.as_object_mut().unwrap().remove("openid");
        service.place_as(&body).await;
        // To WeChat it is a number with other content, as after a change behind our back.
        let sql = "UPDATE attempts SET params = replace(params, '\"body\":\"', '\"body\":\"another ')";
        service.store.db().execute("test", String::from(sql), []).await.unwrap();
        service.pass(FIVE_MINUTES + 1).await;
        service.get("/v1/orders/S120001/pay-params").await;
        let stored = within_timeout("another number", async {
            loop {
                let stored = service.stored("S120001").await;
                if stored.order.attempts.get(1).is_some_and(|attempt| attempt.state == AttemptState::Payable) {
                    return stored;
                }
                // A poll that ran at the same moment leaves the rest to the next one.
                service.pass(30).await;
            }
        }).await;
        assert_eq!(service.wechat_order("S120001").await["state"], "CLOSED", "the old one takes no money");
        let (status, answer) = service.get("/v1/orders/S120001/pay-params").await;
        assert_eq!((status, &answer["out_trade_no"]), (200, &json!(stored.order.attempts[1].out_trade_no)), "{answer}");
        assert_eq!(service.events("S120001").await, ["order.payable", "order.payable"]);
        service.finish().await;
    }

    async fn what_an_attempt_cannot_have_is_refused_at_once(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("S500001").await;
        let path = "/v1/orders/S500001/attempts";
        for (body, at) in [
            (json!({"amount_fen": 1}), "/amount_fen"),
            (json!({"trade_type": "CASH"}), "/trade_type"),
            (json!({"trade_type": "MWEB"}), "/scene_info"),
            (json!({"expires_at": "2020-01-01T00:00:00Z"}), "/expires_at"),
            (json!({"trade_type": "NATIVE", "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}), "/openid"),
        ] {
            let (status, problem) = service.post(path, &body).await;
            assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!(at)), "{body}: {problem}");
        }
        let (status, problem) = service.post(path, &Value::Null).await;
        assert_eq!((status, &problem["code"]), (400, &json!("malformed")), "{problem}");
        service.finish().await;
    }
}

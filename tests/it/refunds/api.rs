//! What a caller may ask for, and what it is answered otherwise.

use serde_json::{Value, json};

use crate::harness::service::{API_KEY, TestService, answer, jsapi};
use crate::settling::on_both;

on_both! {
    async fn the_same_request_has_the_same_answer_and_another_one_is_refused(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("I100001").await;
        let body = json!({"refund_no": "I100001-r1", "amount_fen": 30});
        let tries = (0..20).map(|_| service.give_back("I100001", body.clone()));
        let answers = futures_util::future::join_all(tries).await;
        for (status, refund) in &answers {
            assert_eq!((*status, &refund["refund_no"]), (200, &json!("I100001-r1")), "{refund}");
            assert_eq!(refund["refund_id"], answers[0].1["refund_id"]);
        }
        assert_eq!(service.wechat_refunds("I100001").await.len(), 1);
        service.a_minute_later().await;
        for other in [
            json!({"refund_no": "I100001-r1", "amount_fen": 31}),
            json!({"refund_no": "I100001-r1"}),
            json!({"refund_no": "I100001-r1", "amount_fen": 30, "reason": "x"}),
        ] {
            let (status, problem) = service.give_back("I100001", other).await;
            assert_eq!((status, &problem["code"]), (409, &json!("refund_differs")), "{problem}");
        }
        service.paid("I100002").await;
        let (status, problem) = service.give_back("I100002", body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("refund_differs")), "another order: {problem}");
        assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 1);
        service.finish().await;
    }

    async fn a_key_names_the_refund_where_no_number_does(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("I200001").await;
        let with_key = |key: &'static str, body: Value| {
            let url = format!("{}/v1/orders/I200001/refunds", service.base);
            let request = service.http.post(url).bearer_auth(API_KEY).header("idempotency-key", key);
            // Only the first ones are called for at once: the others wait for their minute.
            let request = if key == "k3" { request.header("prefer", "wait=0") } else { request };
            answer(request.header("content-type", "application/json").body(body.to_string()))
        };
        let (status, first) = with_key("k1", json!({"amount_fen": 10})).await.unwrap();
        // On a busy machine the caller's wait may be over before the call.
        assert!([200, 202].contains(&status), "{first}");
        let (_, again) = with_key("k1", json!({"amount_fen": 10})).await.unwrap();
        assert_eq!(again["refund_no"], first["refund_no"]);
        let (status, problem) = with_key("k1", json!({"amount_fen": 11})).await.unwrap();
        assert_eq!((status, &problem["code"]), (409, &json!("refund_differs")), "{problem}");
        service.a_minute_later().await;
        let (_, other) = with_key("k2", json!({"amount_fen": 10})).await.unwrap();
        assert_ne!(other["refund_no"], first["refund_no"]);
        // A key that names one refund names no other, whatever its number.
        let (status, problem) = with_key("k3", json!({"refund_no": "I2-a", "amount_fen": 10})).await.unwrap();
        assert!([200, 202].contains(&status), "{problem}");
        let (status, problem) = with_key("k3", json!({"refund_no": "I2-b", "amount_fen": 10})).await.unwrap();
        assert_eq!((status, &problem["code"]), (422, &json!("key_reused")), "{problem}");
        let (status, same) = with_key("k3", json!({"refund_no": "I2-a", "amount_fen": 10})).await.unwrap();
        assert!([200, 202].contains(&status) && same["refund_no"] == "I2-a", "{same}");
        // For all that is left neither is needed: the number follows from the order.
        let (status, rest) = service.give_back_at_once("I200001", &json!({"all": true})).await;
        assert_eq!((status, &rest["amount_fen"], &rest["state"]), (202, &json!(70), &json!("requested")), "{rest}");
        let made = rest["refund_no"].as_str().unwrap();
        assert_eq!(service.get(&format!("/v1/refunds/{made}")).await.1["amount_fen"], json!(70));
        service.finish().await;
    }

    async fn a_key_of_a_refund_that_was_refused_names_the_corrected_one(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("I600001").await;
        let with_key = |body: Value| {
            let url = format!("{}/v1/orders/I600001/refunds", service.base);
            let request = service.http.post(url).bearer_auth(API_KEY).header("idempotency-key", "k6");
            answer(request.header("content-type", "application/json").body(body.to_string()))
        };
        let (status, problem) = with_key(json!({"refund_no": "I6-a", "amount_fen": 101})).await.unwrap();
        assert_eq!((status, &problem["code"]), (409, &json!("refund_exceeds")), "{problem}");
        let (status, refund) = with_key(json!({"refund_no": "I6-b", "amount_fen": 60})).await.unwrap();
        assert!([200, 202].contains(&status) && refund["refund_no"] == "I6-b", "{refund}");
        // From now on it names that one, also where a further request is for too much.
        let (status, problem) = with_key(json!({"refund_no": "I6-c", "amount_fen": 1})).await.unwrap();
        assert_eq!((status, &problem["code"]), (422, &json!("key_reused")), "{problem}");
        service.until_refunded("I6-b", "processing").await;
        service.finish().await;
    }

    async fn a_pending_refund_says_where_it_is_found_and_that_it_has_not_failed(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("I300001").await;
        service.faults(json!([{"on": "refund", "kind": "answer_lost", "times": 1}])).await;
        let request = service.http.post(format!("{}/v1/orders/I300001/refunds", service.base)).bearer_auth(API_KEY);
        let request = request.header("content-type", "application/json").header("prefer", "wait=0");
        let request = request.body(r#"{"refund_no":"I300001-r1","all":true}"#);
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 202);
        assert_eq!(response.headers()["location"], "/v1/refunds/I300001-r1");
        let refund: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert!(refund["message"].as_str().unwrap().starts_with("Pending"), "{refund}");
        service.until_refunded("I300001-r1", "unknown").await;
        service.until_idle().await;
        let (_, refund) = service.get("/v1/refunds/I300001-r1").await;
        assert!(refund["message"].as_str().unwrap().starts_with("Pending, not failed"), "{refund}");
        service.finish().await;
    }

    async fn what_cannot_be_refunded_says_why(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.place("I400001").await;
        let (status, problem) = service.give_back("I400001", json!({"all": true})).await;
        assert_eq!((status, &problem["code"]), (409, &json!("order_not_paid")), "{problem}");
        let (status, problem) = service.give_back("NONE0001", json!({"all": true})).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{problem}");
        assert_eq!(service.get("/v1/refunds/none").await.0, 404);
        service.paid("I400002").await;
        for (body, pointer) in [
            (json!({"refund_no": "x".repeat(33)}), "/refund_no"),
            (json!({"refund_no": "a b"}), "/refund_no"),
            (json!({"refund_no": "r", "amount_fen": 0}), "/amount_fen"),
            (json!({"refund_no": "r", "amount_fen": -1}), "/amount_fen"),
            (json!({"amount_fen": 10}), "/refund_no"),
            (json!({}), "/amount_fen"),
            (json!({"reason": "x"}), "/amount_fen"),
            (json!({"refund_no": "r"}), "/amount_fen"),
            (json!({"refund_no": "r", "all": false}), "/all"),
            (json!({"refund_no": "r", "all": "true"}), "/all"),
            (json!({"refund_no": "r", "all": true, "amount_fen": 10}), "/all"),
            (json!({"refund_no": "r", "amount_fen": 1.5}), "/amount_fen"),
            (json!({"reason": "长".repeat(27), "all": true}), "/reason"),
            (json!({"reason": "a\nb", "all": true}), "/reason"),
            (json!({"transaction_id": "4200000000000000000000000001", "all": true}), "/transaction_id"),
            (json!({"openid": "x", "all": true}), "/openid"),
        ] {
            let (status, problem) = service.give_back("I400002", body).await;
            assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!(pointer)), "{problem}");
        }
        assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 0);
        service.finish().await;
    }

    async fn a_merchant_without_certificate_is_answered_so_and_nothing_is_recorded(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.paid("I500001").await;
        let (status, problem) = service.give_back("I500001", json!({"refund_no": "I500001-r1", "all": true})).await;
        assert_eq!((status, &problem["code"]), (409, &json!("refunds_not_configured")), "{problem}");
        assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 0);
        service.finish().await;
    }

    async fn no_payment_is_refunded_more_than_fifty_times(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.place_as(&jsapi("I600001", 10_000)).await;
        service.pay("I600001").await;
        service.until_state("I600001", "paid").await;
        let bodies: Vec<_> = (0..60).map(|n| json!({"refund_no": format!("n{n}"), "amount_fen": 1})).collect();
        let requests = bodies.iter().map(|body| service.give_back_at_once("I600001", body));
        let answers = futures_util::future::join_all(requests).await;
        let taken = answers.iter().filter(|(status, _)| [200, 202].contains(status)).count();
        assert_eq!(taken, 50, "{answers:?}");
        let refused: Vec<_> = answers.iter().filter(|(status, _)| *status == 409).collect();
        assert_eq!(refused.len(), 10, "{refused:?}");
        assert!(refused.iter().all(|(_, problem)| problem["code"] == "refunds_used_up"), "{refused:?}");
        service.finish().await;
    }
}

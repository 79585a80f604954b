//! Placing orders: what a shop sees, what WeChat got, what is in the rows.

use serde_json::{Value, json};
use wxpay_worker::secret::V2Key;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::seal;
use wxpay_worker::wechat::v2::xml;

use super::on_all_four;
use crate::harness::service::{API_KEY, APP_ID, KEY, MCH_ID, OPENID, Processes, answer, jsapi, signed_refusal};

/// How often WeChat was called for a number, and with how many different sets of parameters.
async fn placed(service: &Processes, out_trade_no: &str) -> (u64, usize) {
    let (_, seen) = service.get(&service.wechat_url, "/_sandbox/requests").await;
    let of = |r: &&Value| r["api"] == "unifiedorder" && r["out_trade_no"] == out_trade_no && r["mch_id"] == MCH_ID;
    let found = seen["requests"].as_array().unwrap().iter().find(of);
    found.map_or((0, 0), |r| (r["count"].as_u64().unwrap(), r["parameters_sha256"].as_array().unwrap().len()))
}

on_all_four! {
    async fn a_payment_from_the_order_to_the_event(service) {
        let process = service.run_all().await;
        let order = service.place(&process.base, "A100001", 100).await;
        assert_eq!((&order["state"], &order["amount_fen"]), (&json!("payable"), &json!(100)));
        let params = &order["pay_params"];
        for name in ["appId", "timeStamp", "nonceStr", "package", "signType", "paySign", "timestamp"] {
            assert!(params[name].is_string(), "{name} in {params}");
        }
        service.pay("A100001").await;
        let paid = service.until_state(&process.base, "A100001", "paid").await;
        let theirs = service.wechat_ledger("A100001").await;
        assert_eq!(paid["transaction_id"], theirs["payments"][0]["transaction_id"]);
        assert_eq!(paid["flags"], json!([]));
        service.until_drained().await;
        let events = service.events(&process.base, "wxpay.order.paid.v1").await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["data"]["transaction_id"], paid["transaction_id"]);
        assert_eq!(events[0]["data"]["amount_fen"], 100);
        let db = service.open_db().await;
        for (table, rows) in [("ledger", 1), ("evidence", 2), ("notifications WHERE verdict = 'settled'", 1)] {
            assert_eq!(service.number(&db, &format!("SELECT COUNT(*) FROM {table}")).await, rows, "{table}");
        }
        assert!(process.terminate().await.success(), "a clean end");
        service.finish().await;
    }

    async fn every_trade_type_gets_what_its_client_needs(service) {
        let process = service.run_all().await;
        let wap = json!({"h5_info": {"type": "Wap", "wap_url": "https://m.example.com", "wap_name": "shop"}});
        for (trade_type, extra, needed) in [
            ("NATIVE", json!({"product_id": "p1"}), "code_url"),
            ("MWEB", json!({"scene_info": wap, "client_ip": "203.0.113.7"}), "mweb_url"),
            ("APP", json!({}), "prepayid"),
        ] {
            let mut order = jsapi(&format!("T-{trade_type}"), 1);
            order.as_object_mut().unwrap().remove("openid");
            order["trade_type"] = json!(trade_type);
            order.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let (status, answer) = service.post(&process.base, "/v1/orders", &order).await;
            assert_eq!(status, 200, "{answer}");
            assert!(answer["pay_params"][needed].is_string(), "{needed} in {}", answer["pay_params"]);
        }
        service.finish().await;
    }

    async fn fifty_equal_requests_at_once_are_one_order(service) {
        let process = service.run_all().await;
        let requests = (0..50).map(|_| service.place(&process.base, "A200001", 250));
        let answers = futures_util::future::join_all(requests).await;
        for answer in &answers {
            assert_eq!(answer["attempts"], answers[0]["attempts"]);
            assert_eq!(answer["pay_params"]["package"], answers[0]["pay_params"]["package"]);
        }
        let (status, problem) = service.post(&process.base, "/v1/orders", &jsapi("A200001", 251)).await;
        assert_eq!(status, 409, "{problem}");
        assert_eq!(placed(&service, "A200001").await.1, 1, "one set of parameters at WeChat");
        let db = service.open_db().await;
        assert_eq!(service.number(&db, "SELECT COUNT(*) FROM orders").await, 1);
        service.finish().await;
    }

    async fn an_answer_lost_after_execution_converges_on_one_number(service) {
        let process = service.run_all().await;
        service.faults(json!([{"on": "unifiedorder", "kind": "answer_lost", "times": 1}])).await;
        let order = service.place(&process.base, "A300001", 100).await;
        assert_eq!(order["flags"], json!([]));
        let (calls, parameters) = placed(&service, "A300001").await;
        assert!(calls >= 2, "the call was repeated");
        assert_eq!(parameters, 1, "with the same parameters");
        service.pay("A300001").await;
        service.until_state(&process.base, "A300001", "paid").await;
        service.finish().await;
    }

    async fn an_outcome_that_stays_unknown_is_resolved_by_query_and_never_read_as_failed(service) {
        let process = service.run_all().await;
        // The three calls of the first delivery and one of the repeat: all executed, none answered.
        service.faults(json!([{"on": "unifiedorder", "kind": "answer_lost", "times": 4}])).await;
        let asking = service.http.post(format!("{}/v1/orders", process.base)).bearer_auth(API_KEY);
        let asking = asking.header("prefer", "wait=1").header("content-type", "application/json");
        let asking = asking.body(jsapi("A400001", 100).to_string());
        let (status, order) = answer(asking).await.unwrap();
        assert_eq!(status, 202, "{order}");
        let payable = service.until_state(&process.base, "A400001", "payable").await;
        assert_eq!(payable["attempts"].as_array().unwrap().len(), 1);
        assert_eq!(placed(&service, "A400001").await.1, 1);
        service.pay("A400001").await;
        service.until_state(&process.base, "A400001", "paid").await;
        service.finish().await;
    }

    async fn a_lost_notification_is_made_good_by_a_query(service) {
        let process = service.run_all().await;
        service.faults(json!([{"on": "notify", "kind": "drop", "times": null}])).await;
        service.place(&process.base, "A500001", 100).await;
        service.pay("A500001").await;
        // A busy machine may have the answer after the caller's three seconds.
        service.get(&process.base, "/v1/orders/A500001?merchant=main&refresh=1").await;
        service.until_state(&process.base, "A500001", "paid").await;
        service.until_drained().await;
        let events = service.events(&process.base, "wxpay.order.paid.v1").await;
        assert_eq!(events[0]["data"]["learnt_by"], "query");
        service.finish().await;
    }

    async fn an_older_payment_under_the_same_number_is_held(service) {
        // Another system of the same merchant used the number and was paid.
        let theirs: std::collections::BTreeMap<String, String> = [
            ("appid", APP_ID), ("mch_id", MCH_ID), ("nonce_str", "n"), ("body", "old"), ("out_trade_no", "A650001"),
            ("total_fee", "100"), ("spbill_create_ip", "127.0.0.1"), ("notify_url", "http://127.0.0.1:9/old"),
            ("trade_type", "JSAPI"), ("openid", OPENID),
        ].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let body = xml::write(&seal(theirs, &V2Key::parse(KEY).unwrap(), SignType::Md5));
        let url = format!("{}/pay/unifiedorder", service.wechat_url);
        let placed = service.http.post(url).body(body).send().await.unwrap();
        assert!(placed.text().await.unwrap().contains("prepay_id"));
        service.pay("A650001").await;

        let process = service.run_all().await;
        let (status, order) = service.post(&process.base, "/v1/orders", &jsapi("A650001", 100)).await;
        assert_eq!((status, &order["flags"]), (200, &json!(["paid_before_order"])), "{order}");
        service.until_drained().await;
        let db = service.open_db().await;
        let held = "SELECT COUNT(*) FROM payments WHERE order_no = 'A650001' AND class = 'held'";
        assert_eq!((service.number(&db, "SELECT COUNT(*) FROM ledger").await, service.number(&db, held).await), (1, 1));
        assert!(service.events(&process.base, "wxpay.order.paid.v1").await.is_empty());
        service.finish().await;
    }

    async fn a_refusal_after_a_202_reaches_the_developer(service) {
        let process = service.run_all().await;
        let body = signed_refusal("NOAUTH", "商户无此接口权限");
        service.faults(json!([{"on": "unifiedorder", "kind": "raw", "body": body, "times": 1}])).await;
        let request = service.http.post(format!("{}/v1/orders", process.base)).bearer_auth(API_KEY);
        let request = request.header("prefer", "wait=0");
        let body = jsapi("A660001", 100).to_string();
        let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
        assert!([202, 422].contains(&answer.status().as_u16()), "{answer:?}");
        let order = service.until_state(&process.base, "A660001", "failed").await;
        assert!(order["wechat"]["err_code_des"].is_string(), "{order}");
        service.finish().await;
    }

    async fn each_merchant_signs_its_own_way(service) {
        let process = service.run_all().await;
        let mut order = jsapi("A600001", 100);
        order["merchant"] = json!("second");
        let (status, answer) = service.post(&process.base, "/v1/orders", &order).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["pay_params"]["signType"], "MD5");
        let main = service.place(&process.base, "A600001", 100).await;
        assert_eq!(main["pay_params"]["signType"], "HMAC-SHA256", "numbers are unique per merchant");
        service.finish().await;
    }

    async fn wechats_refusal_fails_the_order_with_its_words(service) {
        let process = service.run_all().await;
        let body = signed_refusal("NOAUTH", "商户无此接口权限");
        service.faults(json!([{"on": "unifiedorder", "kind": "raw", "body": body, "times": 1}])).await;
        let (status, problem) = service.post(&process.base, "/v1/orders", &jsapi("A600002", 100)).await;
        assert_eq!(status, 422, "{problem}");
        assert!(problem["wechat"]["err_code_des"].as_str().is_some_and(|text| text.contains("权限")), "{problem}");
        let (_, again) = service.post(&process.base, "/v1/orders", &jsapi("A600002", 100)).await;
        assert_eq!(again["wechat"], problem["wechat"], "the same request has the same answer");
        let (_, order) = service.get(&process.base, "/v1/orders/A600002?merchant=main").await;
        assert_eq!(order["state"], "failed");
        service.until_drained().await;
        assert_eq!(service.events(&process.base, "wxpay.order.failed.v1").await.len(), 1);
        service.finish().await;
    }
}

//! Placing orders: what a shop sees, what WeChat got, what is in the rows.

use serde_json::{Value, json};

use super::on_all_four;
use crate::harness::service::{MCH_ID, Rig, jsapi};

/// How often WeChat was called for a number, and with how many different sets of parameters.
async fn placed(rig: &Rig, out_trade_no: &str) -> (u64, usize) {
    let (_, seen) = rig.get(&rig.wechat_url, "/_sandbox/requests").await;
    let of = |r: &&Value| r["api"] == "unifiedorder" && r["out_trade_no"] == out_trade_no && r["mch_id"] == MCH_ID;
    let found = seen["requests"].as_array().unwrap().iter().find(of);
    found.map_or((0, 0), |r| (r["count"].as_u64().unwrap(), r["parameters_sha256"].as_array().unwrap().len()))
}

on_all_four! {
    async fn a_payment_from_the_order_to_the_event(rig) {
        let service = rig.run_all().await;
        let order = rig.place(&service.base, "A100001", 100).await;
        assert_eq!((&order["state"], &order["amount_fen"]), (&json!("payable"), &json!(100)));
        let params = &order["pay_params"];
        for name in ["appId", "timeStamp", "nonceStr", "package", "signType", "paySign", "timestamp"] {
            assert!(params[name].is_string(), "{name} in {params}");
        }
        rig.pay("A100001").await;
        let paid = rig.until_state(&service.base, "A100001", "paid").await;
        let theirs = rig.wechat_ledger("A100001").await;
        assert_eq!(paid["transaction_id"], theirs["payments"][0]["transaction_id"]);
        assert_eq!(paid["flags"], json!([]));
        rig.until_drained().await;
        let events = rig.events(&service.base, "wxpay.order.paid.v1").await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["data"]["transaction_id"], paid["transaction_id"]);
        assert_eq!(events[0]["data"]["amount_fen"], 100);
        let db = rig.open_db().await;
        for (table, rows) in [("ledger", 1), ("evidence", 2), ("notifications WHERE verdict = 'settled'", 1), ("dead_letters", 0)] {
            assert_eq!(rig.number(&db, &format!("SELECT COUNT(*) FROM {table}")).await, rows, "{table}");
        }
        assert!(service.terminate().await.success(), "a clean end");
    }

    async fn every_trade_type_gets_what_its_client_needs(rig) {
        let service = rig.run_all().await;
        let wap = json!({"h5_info": {"type": "Wap", "wap_url": "https://m.example.com", "wap_name": "shop"}});
        for (trade_type, extra, needed) in [
            ("NATIVE", json!({"product_id": "p1"}), "code_url"),
            ("MWEB", json!({"scene_info": wap}), "mweb_url"),
            ("APP", json!({}), "prepayid"),
        ] {
            let mut order = jsapi(&format!("T-{trade_type}"), 1);
            order.as_object_mut().unwrap().remove("openid");
            order["trade_type"] = json!(trade_type);
            order.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let (status, answer) = rig.post(&service.base, "/v1/orders", &order).await;
            assert_eq!(status, 200, "{answer}");
            assert!(answer["pay_params"][needed].is_string(), "{needed} in {}", answer["pay_params"]);
        }
    }

    async fn fifty_equal_requests_at_once_are_one_order(rig) {
        let service = rig.run_all().await;
        let requests = (0..50).map(|_| rig.place(&service.base, "A200001", 250));
        let answers = futures_util::future::join_all(requests).await;
        for answer in &answers {
            assert_eq!(answer["attempts"], answers[0]["attempts"]);
            assert_eq!(answer["pay_params"]["package"], answers[0]["pay_params"]["package"]);
        }
        let (status, problem) = rig.post(&service.base, "/v1/orders", &jsapi("A200001", 251)).await;
        assert_eq!(status, 409, "{problem}");
        assert_eq!(placed(&rig, "A200001").await.1, 1, "one set of parameters at WeChat");
        let db = rig.open_db().await;
        assert_eq!(rig.number(&db, "SELECT COUNT(*) FROM orders").await, 1);
    }

    async fn an_answer_lost_after_execution_converges_on_one_number(rig) {
        let service = rig.run_all().await;
        rig.faults(json!([{"on": "unifiedorder", "kind": "answer_lost", "times": 1}])).await;
        let order = rig.place(&service.base, "A300001", 100).await;
        assert_eq!(order["flags"], json!([]));
        let (calls, parameters) = placed(&rig, "A300001").await;
        assert!(calls >= 2, "the call was repeated");
        assert_eq!(parameters, 1, "with the same parameters");
        rig.pay("A300001").await;
        rig.until_state(&service.base, "A300001", "paid").await;
    }

    async fn an_outcome_that_stays_unknown_is_resolved_by_query_and_never_read_as_failed(rig) {
        let service = rig.run_all().await;
        // Three calls, each tried on two hosts: all executed, none answered.
        rig.faults(json!([{"on": "unifiedorder", "kind": "answer_lost", "times": 6}])).await;
        let (status, order) = rig.post(&service.base, "/v1/orders", &jsapi("A400001", 100)).await;
        assert_eq!(status, 202, "{order}");
        let payable = rig.until_state(&service.base, "A400001", "payable").await;
        assert_eq!(payable["attempts"].as_array().unwrap().len(), 1);
        assert_eq!(placed(&rig, "A400001").await.1, 1);
        rig.pay("A400001").await;
        rig.until_state(&service.base, "A400001", "paid").await;
    }

    async fn a_lost_notification_is_made_good_by_a_query(rig) {
        let service = rig.run_all().await;
        rig.faults(json!([{"on": "notify", "kind": "drop", "times": null}])).await;
        rig.place(&service.base, "A500001", 100).await;
        rig.pay("A500001").await;
        let (_, order) = rig.get(&service.base, "/v1/orders/A500001?merchant=main&refresh=1").await;
        assert_eq!(order["state"], "paid");
        let events = rig.events(&service.base, "wxpay.order.paid.v1").await;
        assert_eq!(events[0]["data"]["learnt_by"], "query");
    }

    async fn wechats_refusal_fails_the_order_with_its_words(rig) {
        let service = rig.run_all().await;
        let mut order = jsapi("A600001", 100);
        // The simulator, like WeChat, binds a merchant to its apps; `second` takes no other openid rules but MD5.
        order["merchant"] = json!("second");
        let (status, answer) = rig.post(&service.base, "/v1/orders", &order).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["pay_params"]["signType"], "MD5");
        let past = wxpay_worker::clock::Clock::system().now().after(std::time::Duration::from_secs(62));
        let mut soon_gone = jsapi("A600002", 100);
        soon_gone["expires_at"] = json!(past.to_string());
        rig.faults(json!([{"on": "unifiedorder", "kind": "rate_limit", "times": 1}])).await;
        let (status, answer) = rig.post(&service.base, "/v1/orders", &soon_gone).await;
        assert!(status == 200 || status == 202, "a busy WeChat is no refusal: {answer}");
    }
}

//! Placing, asking, closing.

use std::time::Duration;

use serde_json::json;
use wxpay_worker::trade::SignType;

use super::parts::{APPID, MCH_ID, OPENID, SECOND_APPID, Shop, about, mweb, native, order, with};

#[tokio::test]
async fn an_order_is_answered_with_the_algorithm_of_its_request() {
    let shop = Shop::open().await;
    for (number, sign_type) in [("MD5-0001", SignType::Md5), ("HMAC-0001", SignType::HmacSha256)] {
        let answer = shop.call("unifiedorder", order(number), sign_type).await;
        assert_eq!(answer["result_code"], "SUCCESS");
        assert_eq!(answer["trade_type"], "JSAPI");
        assert_eq!(answer["appid"], APPID);
        assert_eq!(answer["prepay_id"].len(), 36);
        assert!(answer["prepay_id"].starts_with("wx20250102110405"), "Beijing time: {}", answer["prepay_id"]);
        assert_eq!(shop.call("orderquery", about(number), sign_type).await["trade_state"], "NOTPAY");
        assert_eq!(shop.call("closeorder", about(number), sign_type).await["result_msg"], "OK");
    }
}

#[tokio::test]
async fn sign_type_may_name_the_default() {
    let shop = Shop::open().await;
    let answer = shop.place(with(order("A100001"), &[("sign_type", "MD5")])).await;
    assert_eq!(answer["result_code"], "SUCCESS");
}

#[tokio::test]
async fn the_same_order_again_gets_a_fresh_prepay_id_and_stays_one_order() {
    let shop = Shop::open().await;
    let first = shop.prepay(order("A100001")).await;
    let second = shop.prepay(order("A100001")).await;
    assert_ne!(first, second);
    let ledger = shop.ledger().await;
    assert_eq!(ledger["orders"].as_array().unwrap().len(), 1);
    assert_eq!(ledger["orders"][0]["prepays"].as_array().unwrap().len(), 2);
    // The older session still pays, but the order pays once.
    shop.pay(&first).await;
    assert_eq!(shop.control("pay", json!({"prepay_id": second})).await.1["error"], "already_paid");
}

#[tokio::test]
async fn any_changed_parameter_makes_it_another_order_under_a_used_number() {
    let shop = Shop::open().await;
    shop.prepay(order("A100001")).await;
    for (name, value) in [
        ("total_fee", "89"),
        ("body", "another"),
        ("attach", "another"),
        ("openid", "oUpF8uMuAJO_M2pxb1Q9zNjWeS7o"),
        ("notify_url", "http://127.0.0.1:9/other"),
        ("spbill_create_ip", "123.12.12.124"),
        ("time_expire", "20250102130405"),
        ("detail", "{}"),
        ("trade_type", "APP"),
        ("some_new_field", "1"),
    ] {
        let answer = shop.place(with(order("A100001"), &[(name, value)])).await;
        assert_eq!(answer["result_code"], "FAIL", "{name}");
        assert_eq!(answer["err_code"], "INVALID_REQUEST", "{name}");
        assert_eq!(answer["err_code_des"], "201 商户订单号重复", "{name}");
    }
    // An empty element is as good as none.
    assert_eq!(shop.place(with(order("A100001"), &[("detail", "")])).await["result_code"], "SUCCESS");
    assert_eq!(shop.ledger().await["orders"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_number_belongs_to_its_merchant_alone() {
    let shop = Shop::open().await;
    shop.prepay(order("A100001")).await;
    assert_eq!(
        shop.call("orderquery", with(about("A100001"), &[("appid", SECOND_APPID)]), SignType::Md5).await["err_code"],
        "ORDERNOTEXIST"
    );
    assert_eq!(
        shop.call("closeorder", with(about("A100001"), &[("appid", SECOND_APPID)]), SignType::Md5).await["err_code"],
        "ORDERNOTEXIST"
    );
    assert_eq!(shop.query("A100001").await["trade_state"], "NOTPAY");
}

#[tokio::test]
async fn paid_closed_and_expired_numbers_are_dead() {
    let shop = Shop::open().await;
    let paid = shop.prepay(order("PAID-01")).await;
    shop.pay(&paid).await;
    shop.prepay(order("CLOSED-01")).await;
    assert_eq!(shop.close("CLOSED-01").await["result_code"], "SUCCESS");
    let expiring = with(order("EXPIRED-01"), &[("time_expire", "20250102111005")]);
    shop.prepay(expiring.clone()).await;
    shop.prepay(order("UNLIMITED-01")).await;

    shop.clock.advance(Duration::from_secs(6 * 60));
    for (fields, code) in
        [(order("PAID-01"), "ORDERPAID"), (order("CLOSED-01"), "ORDERCLOSED"), (expiring, "ORDERCLOSED")]
    {
        let number = fields["out_trade_no"].clone();
        assert_eq!(shop.place(fields).await["err_code"], code, "{number}");
        assert_eq!(shop.close(&number).await["err_code"], code, "{number}");
    }
    assert_eq!(shop.query("EXPIRED-01").await["trade_state"], "CLOSED");
    assert_eq!(shop.query("UNLIMITED-01").await["trade_state"], "NOTPAY");
    shop.clock.advance(Duration::from_secs(7 * 24 * 3600));
    assert_eq!(shop.query("UNLIMITED-01").await["trade_state"], "CLOSED", "WeChat closes after seven days");
    assert_eq!(shop.query("PAID-01").await["trade_state"], "SUCCESS");
}

#[tokio::test]
async fn each_trade_type_gets_its_way_to_pay() {
    let shop = Shop::open().await;
    let code = shop.place(native("N100001")).await;
    assert!(code["code_url"].starts_with("weixin://wxpay/bizpayurl?pr="), "{}", code["code_url"]);
    let link = shop.place(mweb("M100001")).await;
    let expected = format!("{}/_sandbox/cashier?prepay_id={}&package=", shop.base, link["prepay_id"]);
    assert!(link["mweb_url"].starts_with(&expected), "{}", link["mweb_url"]);
    let app = shop.place(with(order("P100001"), &[("trade_type", "APP")])).await;
    assert!(!app.contains_key("code_url") && !app.contains_key("mweb_url"));
    assert_eq!(app["trade_type"], "APP");
}

#[tokio::test]
async fn an_unpaid_order_is_answered_with_little_more_than_its_state() {
    let shop = Shop::open().await;
    shop.prepay(order("A100001")).await;
    let answer = shop.query("A100001").await;
    let names: Vec<&str> = answer.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "appid",
            "attach",
            "mch_id",
            "nonce_str",
            "out_trade_no",
            "result_code",
            "return_code",
            "return_msg",
            "sign",
            "trade_state",
            "trade_state_desc"
        ]
    );
    assert_eq!(answer["attach"], "深圳分店");
    assert_eq!(answer["trade_state_desc"], "订单未支付");
    assert_eq!(shop.query("UNKNOWN-01").await["err_code"], "ORDERNOTEXIST");
}

#[tokio::test]
async fn a_paid_order_is_answered_whole_by_either_number() {
    let shop = Shop::open().await;
    let prepay_id = shop.prepay(with(order("A100001"), &[("device_info", "WEB")])).await;
    let (status, payment) =
        shop.control("pay", json!({"prepay_id": prepay_id, "coupon_fee": 8, "coupon_type": "NO_CASH"})).await;
    assert_eq!(status, 200, "{payment}");
    let transaction_id = payment["transaction_id"].as_str().unwrap();
    assert!(transaction_id.len() == 28 && transaction_id.starts_with("4200"), "{transaction_id}");

    let by_number = shop.query("A100001").await;
    let mut fields = about("A100001");
    fields.remove("out_trade_no");
    fields.insert("transaction_id".into(), transaction_id.into());
    let by_transaction = shop.call("orderquery", fields, SignType::Md5).await;
    for answer in [by_number, by_transaction] {
        for (name, value) in [
            ("trade_state", "SUCCESS"),
            ("transaction_id", transaction_id),
            ("out_trade_no", "A100001"),
            ("total_fee", "88"),
            ("cash_fee", "80"),
            ("coupon_fee", "8"),
            ("coupon_count", "1"),
            ("coupon_fee_0", "8"),
            ("coupon_type_0", "NO_CASH"),
            ("settlement_total_fee", "80"),
            ("fee_type", "CNY"),
            ("openid", OPENID),
            ("trade_type", "JSAPI"),
            ("bank_type", "OTHERS"),
            ("device_info", "WEB"),
            ("attach", "深圳分店"),
            ("time_end", "20250102110405"),
        ] {
            assert_eq!(answer.get(name).map(String::as_str), Some(value), "{name}");
        }
    }
}

#[tokio::test]
async fn closing_tells_what_stands_in_its_way() {
    let shop = Shop::open().await;
    assert_eq!(shop.close("UNKNOWN-01").await["err_code"], "ORDERNOTEXIST");
    shop.prepay(order("EARLY-01")).await;
    shop.prepay(order("LATER-01")).await;
    assert_eq!(shop.close("EARLY-01").await["result_code"], "SUCCESS");
    assert_eq!(shop.close("EARLY-01").await["err_code"], "ORDERCLOSED");
    shop.clock.advance(Duration::from_secs(5 * 60));
    assert_eq!(shop.close("LATER-01").await["result_code"], "SUCCESS");
    let warnings = |number: &'static str| {
        let shop = &shop;
        async move {
            let ledger = shop.get(&format!("ledger?mch_id={MCH_ID}&out_trade_no={number}")).await;
            assert_eq!(ledger["orders"].as_array().unwrap().len(), 1);
            assert_eq!(ledger["orders"][0]["state"], "CLOSED");
            ledger["orders"][0]["warnings"].as_array().unwrap().len()
        }
    };
    assert_eq!(warnings("EARLY-01").await, 1, "closed before five minutes were over");
    assert_eq!(warnings("LATER-01").await, 0);
}

#[tokio::test]
async fn arrived_requests_tell_a_true_repeat_from_a_changed_one() {
    let shop = Shop::open().await;
    shop.place(order("SAME-01")).await;
    shop.place(order("SAME-01")).await;
    shop.place(order("CHANGED-01")).await;
    shop.place(with(order("CHANGED-01"), &[("total_fee", "1")])).await;
    shop.query("SAME-01").await;
    let seen = |api: &'static str, number: &'static str| {
        let shop = &shop;
        async move {
            let all = shop.get(&format!("requests?out_trade_no={number}")).await["requests"].clone();
            all.as_array().unwrap().iter().find(|r| r["api"] == api).unwrap().clone()
        }
    };
    let same = seen("unifiedorder", "SAME-01").await;
    assert_eq!(same["count"], 2);
    assert_eq!(same["parameters_sha256"].as_array().unwrap().len(), 1);
    assert_ne!(same["each"][0]["body_sha256"], same["each"][1]["body_sha256"], "nonce_str and sign are new");
    assert_eq!(seen("orderquery", "SAME-01").await["count"], 1);
    let changed = seen("unifiedorder", "CHANGED-01").await;
    assert_eq!(changed["parameters_sha256"].as_array().unwrap().len(), 2);
}

//! Answers that are not of WeChat's form, or lack what it should have, on demand.

use serde_json::json;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::verify;
use wxpay_worker::wechat::v2::xml;

use super::parts::{Merchant, Shop, key, order, sealed};

#[tokio::test]
async fn raw_bytes_are_the_whole_answer_and_nothing_is_executed_unless_asked_for() {
    let shop = Shop::open().await;
    shop.faults(json!([
        {"on": "unifiedorder", "kind": "raw", "body": "", "times": 1},
        {"on": "unifiedorder", "kind": "raw", "body_base64": "0KHD9w==", "executed": true, "times": 1},
    ]))
    .await;
    for (answer, orders) in [(&b""[..], 0), (b"\xd0\xa1\xc3\xf7", 1)] {
        let body = xml::write(&sealed(order("A100001"), SignType::Md5)).into_bytes();
        let response = shop.post("/pay/unifiedorder", body).await.unwrap();
        assert_eq!((response.status().as_u16(), &response.bytes().await.unwrap()[..]), (200, answer));
        assert_eq!(shop.ledger().await["orders"].as_array().unwrap().len(), orders);
    }
    let shown = &shop.get("faults").await;
    assert_eq!((&shown["faults"][1]["body_base64"], &shown["faults"][1]["fired"]), (&json!("0KHD9w=="), &json!(1)));
}

#[tokio::test]
async fn rewritten_elements_are_signed() {
    let shop = Shop::open().await;
    let set = json!({"trade_type": null, "prepay_id": "wx1", "new_element": "1"});
    shop.faults(json!([{"on": "unifiedorder", "kind": "rewrite", "set": set, "times": 1}])).await;
    let answer = shop.place(order("A100001")).await;
    assert_eq!(verify(&answer, &key()), Ok(SignType::Md5));
    assert_eq!((answer["prepay_id"].as_str(), answer["new_element"].as_str()), ("wx1", "1"));
    assert!(!answer.contains_key("trade_type"));
}

#[tokio::test]
async fn a_misdirected_notification_goes_to_the_address_of_the_rule() {
    let (shop, mut other) = (Shop::open().await, Merchant::open().await);
    shop.faults(json!([{"on": "notify", "kind": "misdirect", "url": other.url}])).await;
    let prepay_id = shop.prepay(order("A100001")).await;
    shop.pay(&prepay_id).await;
    let heard = other.next().await;
    assert!(String::from_utf8_lossy(&heard.body).contains("A100001"));
}

#[tokio::test]
async fn a_rule_without_what_its_kind_needs_is_refused() {
    let shop = Shop::open().await;
    for rule in [
        json!({"on": "unifiedorder", "kind": "raw"}),
        json!({"on": "unifiedorder", "kind": "raw", "body": "", "body_base64": ""}),
        json!({"on": "unifiedorder", "kind": "raw", "body_base64": "?"}),
        json!({"on": "unifiedorder", "kind": "drop", "body": ""}),
        json!({"on": "notify", "kind": "raw", "body": ""}),
        json!({"on": "unifiedorder", "kind": "rewrite"}),
        json!({"on": "notify", "kind": "misdirect"}),
        json!({"on": "unifiedorder", "kind": "misdirect", "url": "http://127.0.0.1:9/"}),
        json!({"on": "notify", "kind": "wrap"}),
    ] {
        assert_eq!(shop.control("faults", json!([rule])).await.0, 400, "{rule}");
    }
}

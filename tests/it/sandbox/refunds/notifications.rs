//! Telling the merchant what became of a refund.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use wxpay_worker::clock::Clock;
use wxpay_worker::sandbox::{Options, Sandbox};
use wxpay_worker::wechat::v2::refund_notify::decrypt;
use wxpay_worker::wechat::v2::xml;
use wxpay_worker::wechat::v2::xml::Fields;

use super::parts::refund;
use crate::harness::within_timeout;
use crate::sandbox::parts::{
    APPID, Heard, MCH_ID, Merchant, OTHER_APPID, OTHER_MCH_ID, Shop, clock, key, loopback, other_key, settings, with,
};

/// The elements inside, if the merchant's key opens them.
fn opened(heard: &Heard) -> Option<Fields> {
    let plain = decrypt(&heard.fields()["req_info"], &key())?;
    assert!(plain.starts_with(b"<root>"));
    xml::parse(&plain).ok()
}

fn telling(merchant: &Merchant, number: &str, fee: &str) -> Fields {
    with(refund("A100001", number, fee), &[("notify_url", &merchant.url)])
}

#[tokio::test]
async fn each_end_of_a_refund_is_notified_encrypted_and_unsigned() {
    let (shop, mut merchant) = (Shop::open().await, Merchant::open().await);
    let cashier = shop.cashier().await;
    let transaction_id = shop.paid("A100001").await;
    for (number, outcome) in [("R1", "SUCCESS"), ("R2", "CHANGE"), ("R3", "REFUNDCLOSE")] {
        let taken = cashier.take(telling(&merchant, number, "20")).await;
        shop.ends(number, outcome).await;
        let heard = merchant.next().await;
        assert_eq!(heard.headers["content-type"], "text/xml");
        let envelope = heard.fields();
        let names: Vec<&str> = envelope.keys().map(String::as_str).collect();
        assert_eq!(names, ["appid", "mch_id", "nonce_str", "req_info", "return_code"]);
        assert_eq!((&*envelope["appid"], &*envelope["mch_id"], &*envelope["return_code"]), (APPID, MCH_ID, "SUCCESS"));
        let inner = opened(&heard).unwrap();
        for (name, value) in [
            ("transaction_id", &*transaction_id),
            ("out_trade_no", "A100001"),
            ("out_refund_no", number),
            ("refund_id", &*taken["refund_id"]),
            ("total_fee", "88"),
            ("settlement_total_fee", "88"),
            ("refund_fee", "20"),
            ("settlement_refund_fee", "20"),
            ("refund_status", outcome),
            ("refund_recv_accout", "支付用户零钱"),
            ("refund_account", "REFUND_SOURCE_UNSETTLED_FUNDS"),
            ("refund_request_source", "API"),
        ] {
            assert_eq!(inner.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert_eq!(inner.contains_key("success_time"), outcome == "SUCCESS");
        shop.clock.advance(Duration::from_secs(60));
    }
    shop.ends("R2", "SUCCESS").await;
    assert_eq!(opened(&merchant.next().await).unwrap()["refund_status"], "SUCCESS", "a new end is new news");
}

#[tokio::test]
async fn a_refund_that_names_no_address_is_notified_where_the_merchant_said_or_nowhere() {
    let (shop, mut merchant) = (Shop::open().await, Merchant::open().await);
    let cashier = shop.cashier().await;
    shop.paid("A100001").await;
    cashier.take(refund("A100001", "SILENT", "20")).await;
    shop.ends("SILENT", "SUCCESS").await;
    shop.clock.advance(Duration::from_secs(60));
    let address = json!({"mch_id": MCH_ID, "refund_notify_url": merchant.url});
    assert_eq!(shop.control("merchant", address).await.0, 200);
    cashier.take(refund("A100001", "SENT", "20")).await;
    shop.ends("SENT", "SUCCESS").await;
    assert_eq!(opened(&merchant.next().await).unwrap()["out_refund_no"], "SENT", "and nothing of the other");
}

#[tokio::test]
async fn a_refund_made_in_the_merchant_platform_is_notified_under_a_number_the_merchant_never_chose() {
    let (shop, mut merchant) = (Shop::open().await, Merchant::open().await);
    shop.paid("A100001").await;
    shop.control("merchant", json!({"mch_id": MCH_ID, "refund_notify_url": merchant.url})).await;
    let body = |fee: i64| json!({"mch_id": MCH_ID, "out_trade_no": "A100001", "refund_fee": fee});
    assert_eq!(shop.control("refunds/console", body(0)).await.0, 400);
    assert_eq!(shop.control("refunds/console", body(89)).await.1["error"], "INVALID_REQUEST");
    let (status, made) = shop.control("refunds/console", body(8)).await;
    assert_eq!(
        (status, made["status"].as_str(), made["source"].as_str()),
        (200, Some("PROCESSING"), Some("VENDOR_PLATFORM"))
    );
    let number = made["out_refund_no"].as_str().unwrap();
    let (_, second) = shop.control("refunds/console", body(9)).await;
    assert_ne!(second["out_refund_no"], number);
    shop.ends(number, "SUCCESS").await;
    let inner = opened(&merchant.next().await).unwrap();
    assert_eq!((&*inner["out_refund_no"], &*inner["refund_request_source"]), (number, "VENDOR_PLATFORM"));
    assert_eq!(shop.query("A100001").await["trade_state"], "REFUND");
    let unknown = json!({"mch_id": MCH_ID, "out_trade_no": "UNKNOWN-1", "refund_fee": 1});
    assert_eq!(shop.control("refunds/console", unknown).await.0, 404);
}

#[tokio::test]
async fn a_refund_made_in_the_merchant_platform_can_be_without_a_notification() {
    let (shop, mut merchant) = (Shop::open().await, Merchant::open().await);
    shop.paid("A100001").await;
    let number = "A100001";
    let body =
        |fee: i64, notify: bool| json!({"mch_id": MCH_ID, "out_trade_no": number, "refund_fee": fee, "notify": notify});
    let (status, problem) = shop.control("refunds/console", body(1, true)).await;
    assert_eq!((status, &problem["error"]), (409, &json!("no_address")), "{problem}");
    shop.control("merchant", json!({"mch_id": MCH_ID, "refund_notify_url": merchant.url})).await;
    for (fee, notify) in [(2, false), (3, true)] {
        let (status, made) = shop.control("refunds/console", body(fee, notify)).await;
        assert_eq!(status, 200, "{made}");
        shop.ends(made["out_refund_no"].as_str().unwrap(), "SUCCESS").await;
    }
    assert_eq!(opened(&merchant.next().await).unwrap()["refund_fee"], "3", "and nothing of the other");
    let (_, left) = shop.control("refunds/console", body(83, false)).await;
    assert_eq!(left["refund_fee"], json!(83), "{left}");
    let (_, problem) = shop.control("refunds/console", body(1, false)).await;
    assert_eq!(problem["message"], json!("订单已全额退款"), "{problem}");
}

#[tokio::test]
async fn a_refund_is_notified_again_on_the_schedule_until_the_merchant_acknowledges() {
    let (shop, mut merchant) = (Shop::scaled(10_000).await, Merchant::open().await);
    let cashier = shop.cashier().await;
    shop.paid("A100001").await;
    merchant.answer_with(&[(500, ""), (200, "ok"), (200, crate::sandbox::parts::SUCCESS)]);
    cashier.take(telling(&merchant, "R1", "20")).await;
    for _ in 0..3 {
        assert_eq!(opened(&merchant.next().await).unwrap()["out_refund_no"], "R1");
    }
    let notified = async {
        while shop.refunds().await[0]["acknowledged"] != true {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within_timeout("the end of the notification", notified).await;
    let deliveries = shop.ledger().await["deliveries"].as_array().unwrap().clone();
    let notified: Vec<_> = deliveries.iter().filter(|d| d["refund"].is_object()).collect();
    let outcomes: Vec<_> = notified.iter().map(|d| d["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["http_error", "refused", "acknowledged"]);
    assert_eq!(notified[0]["refund"], json!({"out_refund_no": "R1", "refund_status": "SUCCESS"}));
    assert_eq!(notified.iter().map(|d| d["attempt"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test]
async fn a_refunds_notification_can_be_asked_for_and_spoiled() {
    let (shop, mut merchant) = (Shop::open().await, Merchant::open().await);
    let cashier = shop.cashier().await;
    shop.paid("A100001").await;
    cashier.take(telling(&merchant, "R1", "20")).await;
    let body = |fault: Option<&str>| {
        let (order, refund) = ("A100001", "R1");
        json!({"mch_id": MCH_ID, "out_trade_no": order, "out_refund_no": refund, "fault": fault})
    };
    assert_eq!(shop.control("notify", body(None)).await.1["error"], "not_ended");
    shop.ends("R1", "SUCCESS").await;
    merchant.next().await;
    for fault in ["tamper", "wrong_sign"] {
        let (status, answer) = shop.control("notify", body(Some(fault))).await;
        assert_eq!((status, answer["deliveries"][0]["fault"].as_str()), (200, Some(fault)));
        assert_eq!(opened(&merchant.next().await), None, "{fault}");
    }
    shop.control("notify", body(Some("forge_amount"))).await;
    assert_eq!(opened(&merchant.next().await).unwrap()["refund_fee"], "21", "the holder of the key can say anything");
    shop.control("notify", body(Some("cross_merchant"))).await;
    let heard = merchant.next().await;
    assert_eq!((&*heard.fields()["mch_id"], &*heard.fields()["appid"]), (OTHER_MCH_ID, OTHER_APPID));
    assert!(decrypt(&heard.fields()["req_info"], &other_key()).is_some() && opened(&heard).is_none());
    shop.control("notify", body(Some("half_body"))).await;
    assert!(xml::parse(&merchant.next().await.body).is_err());
    assert_eq!(shop.control("notify", body(Some("hang"))).await.0, 400);
    shop.control("notify", body(None)).await;
    assert_eq!(opened(&merchant.next().await).unwrap()["refund_fee"], "20");
    assert_eq!(shop.refunds().await[0]["refund_fee"], 20, "a fault never touches the ledger");
}

#[tokio::test]
async fn rules_spoil_refund_notifications_and_leave_payments_alone() {
    let (shop, mut merchant) = (Shop::open().await, Merchant::open().await);
    let cashier = shop.cashier().await;
    shop.faults(json!([{"on": "refund_notify", "kind": "duplicate", "copies": 3, "times": 1}])).await;
    shop.paid_order(merchant.order("A100001")).await;
    assert!(merchant.next().await.fields().contains_key("sign"));
    cashier.take(telling(&merchant, "R1", "20")).await;
    shop.ends("R1", "SUCCESS").await;
    let mut bodies = std::collections::HashSet::new();
    for _ in 0..3 {
        bodies.insert(merchant.next().await.body);
    }
    assert_eq!(bodies.len(), 1, "three of the same");
    assert_eq!(shop.deliveries(4).await.len(), 4);
    for kind in ["hang", "reset", "system_error", "http_500", "slow", "rate_limit", "refuse"] {
        assert_eq!(shop.control("faults", json!([{"on": "refund_notify", "kind": kind}])).await.0, 400, "{kind}");
    }
}

async fn start(state: &Path, clock: &Clock, time_scale: u32) -> Shop {
    let options = Options { state: Some(state.to_owned()), clock: clock.clone(), ..Options::default() };
    let running = Sandbox::start_with(loopback().await, settings(time_scale), options).await.unwrap();
    Shop::over(running, clock.clone())
}

#[tokio::test]
async fn refunds_plans_and_repeats_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.jsonl");
    let (clock, mut merchant) = (clock(), Merchant::open().await);
    let shop = start(&state, &clock, 1).await;
    let cashier = shop.cashier().await;
    shop.paid("A100001").await;
    shop.control("merchant", json!({"mch_id": MCH_ID, "balance": 60})).await;
    shop.control("refunds/outcome", json!({"mch_id": MCH_ID, "out_refund_no": "R2", "outcome": "CHANGE"})).await;
    merchant.answer_with(&[(500, "")]);
    let first = cashier.take(telling(&merchant, "R1", "20")).await;
    shop.ends("R1", "SUCCESS").await;
    merchant.next().await;
    let notified = async {
        while shop.ledger().await["deliveries"].as_array().unwrap().iter().all(|d| d["refund"].is_null()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within_timeout("the end of the notification", notified).await;
    clock.advance(Duration::from_secs(60));
    cashier.take(telling(&merchant, "R2", "20")).await;
    let before = shop.ledger().await;
    shop.sandbox.shutdown().await;

    // What is left of five minutes, and the next repeat, are milliseconds now.
    let shop = start(&state, &clock, 10_000).await;
    assert_eq!(shop.ledger().await["refunds"][0]["out_refund_no"], before["refunds"][0]["out_refund_no"]);
    let mut heard = Vec::new();
    for _ in 0..2 {
        let inner = opened(&merchant.next().await).unwrap();
        heard.push((inner["out_refund_no"].clone(), inner["refund_status"].clone()));
    }
    heard.sort();
    assert_eq!(heard, [("R1".into(), "SUCCESS".into()), ("R2".into(), "CHANGE".into())]);
    let cashier = shop.cashier().await;
    let again = cashier.take(telling(&merchant, "R1", "20")).await;
    assert_eq!(again["refund_id"], first["refund_id"]);
    clock.advance(Duration::from_secs(60));
    // 60 in the account, 20 refunded, 20 taken and given back.
    assert_eq!(cashier.refused(refund("A100001", "R3", "41")).await, "NOTENOUGH");
    let third = cashier.take(refund("A100001", "R3", "40")).await;
    assert_ne!(third["refund_id"], first["refund_id"]);
}

#[tokio::test]
async fn a_journal_from_before_refunds_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.jsonl");
    let (clock, merchant) = (clock(), Merchant::open().await);
    let shop = start(&state, &clock, 1).await;
    shop.paid_order(merchant.order("A100001")).await;
    shop.deliveries(1).await;
    shop.sandbox.shutdown().await;
    let text = std::fs::read_to_string(&state).unwrap();
    assert!(text.contains("\"delivered\"") && !text.contains("refund"), "payments are written as they always were");
    let shop = start(&state, &clock, 1).await;
    let answer = shop.cashier().await.take(refund("A100001", "R1", "88")).await;
    assert_eq!(answer["result_code"], "SUCCESS");
}

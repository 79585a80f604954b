//! Asking what became of refunds.

use std::time::Duration;

use serde_json::json;
use wxpay_worker::wechat::v2::xml::Fields;

use super::parts::refund;
use crate::sandbox::parts::{APPID, MCH_ID, OTHER_MCH_ID, SECOND_APPID, Shop, about, order, with};

const MINUTE: Duration = Duration::from_secs(60);

fn by(name: &str, value: &str) -> Fields {
    with(Fields::new(), &[("appid", APPID), ("mch_id", MCH_ID), (name, value)])
}

#[tokio::test]
async fn a_refund_is_found_by_each_of_four_numbers() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    let transaction_id = shop.paid("A100001").await;
    let taken = cashier.take(refund("A100001", "R1", "30")).await;
    shop.clock.advance(MINUTE);
    cashier.take(refund("A100001", "R2", "20")).await;
    shop.ends("R1", "SUCCESS").await;
    let single = [("out_refund_no", "R1"), ("refund_id", &*taken["refund_id"])];
    for (name, value) in single {
        let answer = shop.ask_refund(by(name, value)).await;
        assert_eq!((&*answer["refund_count"], &*answer["out_refund_no_0"]), ("1", "R1"), "{name}");
        assert!(!answer.contains_key("total_refund_count") && !answer.contains_key("out_refund_no_1"));
    }
    for (name, value) in [("transaction_id", &*transaction_id), ("out_trade_no", "A100001")] {
        let answer = shop.ask_refund(by(name, value)).await;
        for (name, value) in [
            ("result_code", "SUCCESS"),
            ("total_refund_count", "2"),
            ("refund_count", "2"),
            ("transaction_id", &*transaction_id),
            ("out_trade_no", "A100001"),
            ("total_fee", "88"),
            ("cash_fee", "88"),
            ("out_refund_no_0", "R1"),
            ("refund_id_0", &*taken["refund_id"]),
            ("refund_fee_0", "30"),
            ("refund_status_0", "SUCCESS"),
            ("refund_success_time_0", "2025-01-02 11:05:05"),
            ("refund_recv_accout_0", "支付用户零钱"),
            ("refund_account_0", "REFUND_SOURCE_UNSETTLED_FUNDS"),
            ("out_refund_no_1", "R2"),
            ("refund_fee_1", "20"),
            ("refund_status_1", "PROCESSING"),
        ] {
            assert_eq!(answer.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!answer.contains_key("refund_success_time_1"));
    }
    // The more precise number wins.
    let both = with(by("out_refund_no", "R2"), &[("refund_id", &taken["refund_id"]), ("out_trade_no", "UNKNOWN-1")]);
    assert_eq!(shop.ask_refund(both).await["out_refund_no_0"], "R1");
}

#[tokio::test]
async fn many_refunds_are_listed_ten_at_a_time() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    shop.paid("A100001").await;
    for n in 0..12 {
        cashier.take(refund("A100001", &format!("R{n}"), "1")).await;
        shop.clock.advance(MINUTE);
    }
    for (offset, count, first) in [("0", "10", Some("R0")), ("10", "2", Some("R10")), ("12", "0", None)] {
        let answer = shop.ask_refund(with(about("A100001"), &[("offset", offset)])).await;
        assert_eq!((&*answer["total_refund_count"], &*answer["refund_count"]), ("12", count));
        assert_eq!(answer.get("out_refund_no_0").map(String::as_str), first);
        assert!(!answer.contains_key("out_refund_no_10"));
    }
    assert_eq!(shop.ask_refund(with(about("A100001"), &[("offset", "13")])).await["err_code"], "PARAM_ERROR");
}

#[tokio::test]
async fn what_was_never_accepted_does_not_exist() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    let transaction_id = shop.paid("A100001").await;
    shop.paid("A100002").await;
    let taken = cashier.take(refund("A100001", "R1", "30")).await;
    for (fields, code) in [
        (by("out_refund_no", "R2"), "REFUNDNOTEXIST"),
        (by("refund_id", "5030000000"), "REFUNDNOTEXIST"),
        (by("out_trade_no", "A100002"), "REFUNDNOTEXIST"),
        (by("out_trade_no", "UNKNOWN-1"), "REFUNDNOTEXIST"),
        (by("transaction_id", "4200000000"), "INVALID_TRANSACTIONID"),
        (with(by("refund_id", &taken["refund_id"]), &[("appid", SECOND_APPID)]), "REFUNDNOTEXIST"),
        (with(by("transaction_id", &transaction_id), &[("appid", SECOND_APPID)]), "REFUNDNOTEXIST"),
    ] {
        let answer = shop.ask_refund(fields.clone()).await;
        assert_eq!((&*answer["result_code"], &*answer["err_code"]), ("FAIL", code), "{fields:?}");
    }
    let (status, answer) = shop
        .control("refunds/outcome", json!({"mch_id": OTHER_MCH_ID, "out_refund_no": "R1", "outcome": "CHANGE"}))
        .await;
    assert!(status == 200 && answer["planned"].is_object(), "another merchant's R1 is another refund: {answer}");
    assert_eq!(shop.ask_refund(by("out_refund_no", "R1")).await["refund_status_0"], "PROCESSING");
}

#[tokio::test]
async fn an_old_payment_is_asked_about_by_wechats_number_only() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    let transaction_id = shop.paid("A100001").await;
    let taken = cashier.take(refund("A100001", "R1", "30")).await;
    shop.clock.advance(Duration::from_secs(548 * 24 * 3600));
    for fields in [by("out_refund_no", "R1"), by("out_trade_no", "A100001"), by("refund_id", &taken["refund_id"])] {
        assert_eq!(shop.ask_refund(fields.clone()).await["err_code"], "PARAM_ERROR", "{fields:?}");
    }
    for fields in [
        by("transaction_id", &transaction_id),
        with(by("transaction_id", &transaction_id), &[("refund_id", &taken["refund_id"])]),
    ] {
        assert_eq!(shop.ask_refund(fields.clone()).await["out_refund_no_0"], "R1", "{fields:?}");
    }
}

#[tokio::test]
async fn coupons_are_numbered_twice() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    let prepay_id = shop.prepay(order("A100001")).await;
    shop.control("pay", json!({"prepay_id": prepay_id, "coupon_fee": 44, "coupon_type": "NO_CASH"})).await;
    for n in 0..2 {
        cashier.take(refund("A100001", &format!("R{n}"), "44")).await;
        shop.clock.advance(MINUTE);
    }
    let answer = shop.ask_refund(about("A100001")).await;
    for (name, value) in [
        ("settlement_total_fee", "44"),
        ("coupon_refund_fee_0", "22"),
        ("coupon_refund_count_0", "1"),
        ("settlement_refund_fee_0", "22"),
        ("coupon_type_0_0", "NO_CASH"),
        ("coupon_refund_id_1_0", "10000"),
        ("coupon_refund_fee_1_0", "22"),
    ] {
        assert_eq!(answer.get(name).map(String::as_str), Some(value), "{name}");
    }
}

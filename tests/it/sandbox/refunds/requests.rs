//! What is refunded and what is not.

use std::time::Duration;

use serde_json::json;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::xml;

use super::parts::refund;
use crate::harness::within_timeout;
use crate::sandbox::parts::{APPID, MCH_ID, SECOND_APPID, Shop, order, sealed, with};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_refund_is_accepted_first_and_done_later() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    let transaction_id = shop.paid("A100001").await;
    assert_eq!(shop.query("A100001").await["trade_state"], "SUCCESS");
    let answer = cashier.take(with(refund("A100001", "R1", "30"), &[("refund_desc", "商品已售完")])).await;
    for (name, value) in [
        ("transaction_id", &*transaction_id),
        ("out_trade_no", "A100001"),
        ("out_refund_no", "R1"),
        ("refund_fee", "30"),
        ("total_fee", "88"),
        ("cash_fee", "88"),
        ("cash_refund_fee", "30"),
        ("fee_type", "CNY"),
        ("appid", APPID),
        ("mch_id", MCH_ID),
    ] {
        assert_eq!(answer.get(name).map(String::as_str), Some(value), "{name}");
    }
    let [kept] = &shop.refunds().await[..] else { panic!("one refund") };
    assert_eq!(kept["refund_id"], *answer["refund_id"]);
    assert_eq!((&kept["status"], &kept["source"]), (&json!("PROCESSING"), &json!("API")));
    assert_eq!(kept["refund_desc"], "商品已售完");
    let query = shop.query("A100001").await;
    assert_eq!((&*query["trade_state"], &*query["total_fee"]), ("REFUND", "88"), "also for a part");

    assert_eq!(shop.ends("R1", "SUCCESS").await.0, 200);
    let [kept] = &shop.refunds().await[..] else { panic!("one refund") };
    assert_eq!((&kept["status"], &kept["ended_at"]), (&json!("SUCCESS"), &json!("2025-01-02T03:04:05.000Z")));
}

#[tokio::test]
async fn a_refund_ends_by_itself_after_its_scaled_time() {
    let shop = Shop::scaled(10_000).await;
    let cashier = shop.cashier().await;
    shop.paid("A100001").await;
    cashier.take(refund("A100001", "R1", "88")).await;
    let ended = async {
        while shop.refunds().await[0]["status"] != "SUCCESS" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Five minutes are 30 ms here.
    within_timeout("the end of the refund", ended).await;
}

#[tokio::test]
async fn the_same_number_with_the_same_parameters_refunds_once() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    let transaction_id = shop.paid("A100001").await;
    let request = with(refund("A100001", "R1", "30"), &[("transaction_id", &transaction_id)]);
    let tries = futures_util::future::join_all((0..20).map(|_| cashier.take(request.clone()))).await;
    assert!(tries.iter().all(|answer| answer["refund_id"] == tries[0]["refund_id"]));
    assert_eq!(shop.refunds().await.len(), 1);
    for (name, value, code) in [
        ("refund_fee", "31", "REFUND_FEE_MISMATCH"),
        ("total_fee", "89", "REFUND_FEE_MISMATCH"),
        ("refund_desc", "other", "INVALID_REQUEST"),
        ("notify_url", "https://pay.example.com/other", "INVALID_REQUEST"),
        ("out_trade_no", "A100002", "INVALID_REQUEST"),
    ] {
        assert_eq!(cashier.refused(with(request.clone(), &[(name, value)])).await, code, "{name}");
    }
    let requests = shop.get(&format!("requests?mch_id={MCH_ID}&out_trade_no=A100001")).await;
    let requests = requests["requests"].as_array().unwrap().iter().find(|r| r["api"] == "refund").unwrap().clone();
    assert_eq!(requests["count"], 25);
    assert_eq!(requests["parameters_sha256"].as_array().unwrap().len(), 6);
    assert_eq!(requests["each"][0]["out_refund_no"], "R1");
    assert_eq!(shop.refunds().await.len(), 1);
}

#[tokio::test]
async fn refunds_never_exceed_what_was_paid() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    shop.paid("A100001").await;
    assert_eq!(cashier.refused(refund("A100001", "R0", "89")).await, "INVALID_REQUEST");
    cashier.take(refund("A100001", "R1", "60")).await;
    shop.clock.advance(MINUTE);
    assert_eq!(cashier.refused(refund("A100001", "R2", "29")).await, "INVALID_REQUEST");
    cashier.take(refund("A100001", "R2", "28")).await;
    shop.clock.advance(MINUTE);
    assert_eq!(cashier.refused(refund("A100001", "R3", "1")).await, "INVALID_REQUEST");
    // A closed refund moved nothing; one that the payer's account could not take is still owed.
    shop.ends("R2", "REFUNDCLOSE").await;
    shop.ends("R1", "CHANGE").await;
    assert_eq!(cashier.refused(refund("A100001", "R3", "29")).await, "INVALID_REQUEST");
    cashier.take(refund("A100001", "R3", "28")).await;
}

#[tokio::test]
async fn concurrent_refunds_of_different_numbers_share_what_is_left() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    for n in 0..10 {
        shop.paid(&format!("RACE-{n:02}")).await;
    }
    for n in 0..10 {
        let number = format!("RACE-{n:02}");
        let [a, b] = ["a", "b"].map(|half| refund(&number, &format!("R{n}{half}"), "50"));
        let (a, b) = tokio::join!(cashier.refund(a), cashier.refund(b));
        let taken = [&a, &b].iter().filter(|answer| answer["result_code"] == "SUCCESS").count();
        assert_eq!(taken, 1, "{a:?} {b:?}");
    }
}

#[tokio::test]
async fn refunds_of_one_order_are_a_minute_apart_and_fifty_at_most() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    shop.paid("A100001").await;
    shop.paid("A100002").await;
    cashier.take(refund("A100001", "R0", "1")).await;
    assert_eq!(cashier.refused(refund("A100001", "R1", "1")).await, "FREQUENCY_LIMITED");
    cashier.take(refund("A100002", "OTHER", "1")).await;
    for n in 1..50 {
        shop.clock.advance(MINUTE);
        cashier.take(refund("A100001", &format!("R{n}"), "1")).await;
    }
    shop.clock.advance(MINUTE);
    assert_eq!(cashier.refused(refund("A100001", "R50", "1")).await, "INVALID_REQUEST");
    assert_eq!(shop.refunds().await.len(), 51);
}

#[tokio::test]
async fn only_a_payment_of_the_last_year_under_its_own_numbers_is_refunded() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    shop.paid("A100001").await;
    shop.prepay(order("UNPAID-1")).await;
    for (fields, code) in [
        (refund("UNPAID-1", "R1", "1"), "ORDERNOTEXIST"),
        (refund("UNKNOWN-1", "R1", "1"), "ORDERNOTEXIST"),
        (with(refund("A100001", "R1", "1"), &[("transaction_id", "4200000000")]), "INVALID_TRANSACTIONID"),
        (with(refund("A100001", "R1", "1"), &[("appid", SECOND_APPID)]), "ORDERNOTEXIST"),
        (with(refund("A100001", "R1", "1"), &[("total_fee", "87")]), "INVALID_REQUEST"),
        (with(refund("A100001", "R1", "1"), &[("refund_fee_type", "USD")]), "PARAM_ERROR"),
        (with(refund("A100001", "R1", "1"), &[("refund_account", "MINE")]), "PARAM_ERROR"),
        (with(refund("A100001", "R1", "1"), &[("notify_url", "https://a.example.com/?b=1")]), "PARAM_ERROR"),
    ] {
        assert_eq!(cashier.refused(fields.clone()).await, code, "{fields:?}");
    }
    shop.clock.advance(Duration::from_secs(365 * 24 * 3600));
    cashier.take(refund("A100001", "R1", "1")).await;
    shop.clock.advance(MINUTE);
    assert_eq!(cashier.refused(refund("A100001", "R2", "1")).await, "TRADE_OVERDUE");
    assert_eq!(shop.refunds().await.len(), 1);
}

#[tokio::test]
async fn a_malformed_refund_is_refused_unsigned() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    shop.paid("A100001").await;
    let long65 = "r".repeat(65);
    let desc = "公".repeat(27);
    for (name, value) in [
        ("out_refund_no", ""),
        ("out_refund_no", "R 1"),
        ("out_refund_no", &long65),
        ("refund_fee", "0"),
        ("refund_fee", "-1"),
        ("refund_fee", "1.0"),
        ("total_fee", ""),
        ("refund_desc", &desc),
        ("out_trade_no", ""),
        ("notify_url", "pay.example.com"),
    ] {
        let fields = sealed(with(refund("A100001", "R1", "1"), &[(name, value)]), SignType::Md5);
        let answer = cashier.post(xml::write(&fields).into_bytes()).await.unwrap();
        let answer = xml::parse(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(answer["return_code"], "FAIL", "{name}={value}");
        assert!(answer["return_msg"].contains(name) && !answer.contains_key("sign"), "{answer:?}");
    }
    assert!(shop.refunds().await.is_empty());
}

#[tokio::test]
async fn an_account_with_a_limit_pays_no_more_than_it_holds() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    for number in ["A100001", "A100002", "A100003"] {
        shop.paid(number).await;
    }
    let (status, _) = shop.control("merchant", json!({"mch_id": MCH_ID, "balance": 100})).await;
    assert_eq!(status, 200);
    cashier.take(refund("A100001", "R1", "88")).await;
    assert_eq!(cashier.refused(refund("A100002", "R2", "13")).await, "NOTENOUGH");
    cashier.take(refund("A100002", "R2", "12")).await;
    assert_eq!(cashier.refused(refund("A100003", "R3", "1")).await, "NOTENOUGH");
    // What does not reach the payer is back in the account, until it does after all.
    shop.ends("R1", "CHANGE").await;
    cashier.take(refund("A100003", "R3", "1")).await;
    shop.clock.advance(MINUTE);
    shop.ends("R1", "SUCCESS").await;
    assert_eq!(cashier.refused(refund("A100003", "R4", "1")).await, "NOTENOUGH");
    shop.control("merchant", json!({"mch_id": MCH_ID})).await;
    cashier.take(refund("A100003", "R4", "1")).await;
}

#[tokio::test]
async fn a_coupon_gets_its_share_back_to_the_last_fen() {
    for (kind, settled) in [("CASH", false), ("NO_CASH", true)] {
        let shop = Shop::open().await;
        let cashier = shop.cashier().await;
        let prepay_id = shop.prepay(order("A100001")).await;
        let request = json!({"prepay_id": prepay_id, "coupon_fee": 10, "coupon_type": kind});
        assert_eq!(shop.control("pay", request).await.0, 200);
        let (mut coupon, mut cash, mut settlement) = (0, 0, 0);
        for (n, fee) in ["30", "29", "29"].iter().enumerate() {
            let answer = cashier.take(refund("A100001", &format!("R{n}"), fee)).await;
            assert_eq!((&*answer["coupon_type_0"], &*answer["coupon_refund_id_0"]), (kind, "10000"));
            assert_eq!(answer["coupon_refund_fee"], answer["coupon_refund_fee_0"]);
            let number = |name: &str| answer[name].parse::<i64>().unwrap();
            assert_eq!(number("coupon_refund_fee") + number("cash_refund_fee"), fee.parse::<i64>().unwrap());
            coupon += number("coupon_refund_fee");
            cash += number("cash_refund_fee");
            assert_eq!(answer.contains_key("settlement_refund_fee"), settled);
            settlement += if settled { number("settlement_refund_fee") } else { 0 };
            shop.clock.advance(MINUTE);
        }
        assert_eq!((coupon, cash, settlement), (10, 78, if settled { 78 } else { 0 }));
    }
}

#[tokio::test]
async fn an_end_is_final_except_that_a_failed_transfer_may_succeed_after_all() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    for n in 1..=3 {
        shop.paid(&format!("A10000{n}")).await;
        cashier.take(refund(&format!("A10000{n}"), &format!("R{n}"), "88")).await;
    }
    for (number, outcome, status) in [
        ("R1", "PROCESSING", 400),
        ("R1", "SUCCESS", 200),
        ("R1", "CHANGE", 409),
        ("R2", "REFUNDCLOSE", 200),
        ("R2", "SUCCESS", 409),
        ("R3", "CHANGE", 200),
        ("R3", "REFUNDCLOSE", 409),
        ("R3", "SUCCESS", 200),
    ] {
        assert_eq!(shop.ends(number, outcome).await.0, status, "{number} {outcome}");
    }
    let states: Vec<_> = shop.refunds().await.iter().map(|r| r["status"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states, ["SUCCESS", "REFUNDCLOSE", "SUCCESS"]);
    assert_eq!(shop.query("A100001").await["trade_state"], "REFUND");
    assert_eq!(shop.query("A100002").await["trade_state"], "SUCCESS", "nothing was refunded");
}

#[tokio::test]
async fn an_end_can_be_planned_before_the_refund_is_asked_for() {
    let shop = Shop::scaled(10_000).await;
    let cashier = shop.cashier().await;
    for (order, plan, outcome) in [
        ("A100001", json!({"mch_id": MCH_ID, "out_trade_no": "A100001", "outcome": "CHANGE"}), "CHANGE"),
        ("A100002", json!({"mch_id": MCH_ID, "out_refund_no": "R-A100002", "outcome": "REFUNDCLOSE"}), "REFUNDCLOSE"),
        ("A100003", json!({"mch_id": MCH_ID, "out_refund_no": "OTHER", "outcome": "CHANGE"}), "SUCCESS"),
    ] {
        shop.paid(order).await;
        assert_eq!(shop.control("refunds/outcome", plan).await.0, 200);
        cashier.take(refund(order, &format!("R-{order}"), "88")).await;
        let ended = async {
            loop {
                let refunds = shop.refunds().await;
                let refund = refunds.iter().find(|r| r["out_trade_no"] == order).unwrap().clone();
                if refund["ended_at"].is_string() {
                    return refund["status"].clone();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert_eq!(within_timeout("the end of the refund", ended).await, outcome);
    }
}

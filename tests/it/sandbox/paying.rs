//! The payer: pays once, with a living session, on an open order, with their own openid.

use std::time::Duration;

use serde_json::json;

use wxpay_worker::sandbox::PayRefused;

use super::parts::{MCH_ID, Merchant, OPENID, Shop, native, order};

#[tokio::test]
async fn an_order_is_paid_once_however_many_try_at_the_same_time() {
    let shop = Shop::open().await;
    let prepay_id = shop.prepay(order("A100001")).await;
    let tries = (0..20).map(|_| shop.control("pay", json!({"prepay_id": prepay_id})));
    let answers = futures_util::future::join_all(tries).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|(_, body)| body["error"] == "already_paid").count(), 19);
    let ledger = shop.ledger().await;
    assert_eq!(ledger["payments"].as_array().unwrap().len(), 1);
    let payment = &ledger["payments"][0];
    assert_eq!(payment["total_fee"], 88);
    assert_eq!(payment["mch_id"], MCH_ID);
    assert_eq!(payment["out_trade_no"], "A100001");
    assert_eq!(payment["openid"], OPENID);
    assert_eq!(payment["time_end"], "20250102110405");
    assert_eq!(ledger["orders"][0]["transaction_id"], payment["transaction_id"]);
}

#[tokio::test]
async fn the_same_process_can_act_as_the_payer() {
    let (shop, mut merchant) = (Shop::open().await, Merchant::open().await);
    let prepay_id = shop.prepay(merchant.order("A100001")).await;
    let transaction_id = shop.sandbox.pay(&prepay_id).unwrap();
    assert_eq!(merchant.next().await.fields()["transaction_id"], transaction_id.as_str());
    assert_eq!(shop.sandbox.pay(&prepay_id), Err(PayRefused::AlreadyPaid));
    assert_eq!(shop.sandbox.pay("wx1"), Err(PayRefused::NotFound));
}

#[tokio::test]
async fn a_session_dies_after_two_hours_and_a_fresh_one_works() {
    let shop = Shop::open().await;
    let old = shop.prepay(order("A100001")).await;
    shop.clock.advance(Duration::from_secs(2 * 3600));
    let (status, answer) = shop.control("pay", json!({"prepay_id": old})).await;
    assert_eq!((status, answer["error"].as_str()), (410, Some("session_expired")));
    let fresh = shop.prepay(order("A100001")).await;
    shop.pay(&fresh).await;
    assert_eq!(shop.payments().await, 1);
}

#[tokio::test]
async fn the_time_scale_shortens_a_session() {
    let shop = Shop::scaled(3600).await;
    let prepay_id = shop.prepay(order("A100001")).await;
    shop.clock.advance(Duration::from_secs(2));
    assert_eq!(shop.control("pay", json!({"prepay_id": prepay_id})).await.1["error"], "session_expired");
}

#[tokio::test]
async fn a_newer_code_replaces_the_older() {
    let shop = Shop::open().await;
    let old = shop.place(native("N100001")).await["code_url"].clone();
    let new = shop.place(native("N100001")).await["code_url"].clone();
    assert_ne!(old, new);
    assert_eq!(shop.control("pay", json!({"code_url": old})).await.1["error"], "session_expired");
    let (status, payment) = shop.control("pay", json!({"code_url": new, "openid": "oOtherPerson"})).await;
    assert_eq!((status, payment["openid"].as_str()), (200, Some("oOtherPerson")), "the person who scans it pays");
}

#[tokio::test]
async fn closed_and_expired_orders_take_no_money() {
    let shop = Shop::open().await;
    let closed = shop.prepay(order("CLOSED-01")).await;
    shop.close("CLOSED-01").await;
    let expired = shop.prepay(super::parts::with(order("EXPIRED-01"), &[("time_expire", "20250102110605")])).await;
    shop.clock.advance(Duration::from_secs(120));
    for prepay_id in [closed, expired] {
        let (status, answer) = shop.control("pay", json!({"prepay_id": prepay_id})).await;
        assert_eq!((status, answer["error"].as_str()), (409, Some("closed")));
    }
    assert_eq!(shop.payments().await, 0);
}

#[tokio::test]
async fn an_order_placed_for_one_payer_refuses_another() {
    let shop = Shop::open().await;
    let prepay_id = shop.prepay(order("A100001")).await;
    let (status, answer) = shop.control("pay", json!({"prepay_id": prepay_id, "openid": "oAnotherPerson"})).await;
    assert_eq!((status, answer["error"].as_str()), (409, Some("payer_differs")));
    assert_eq!(shop.payments().await, 0);
}

#[tokio::test]
async fn leaving_the_cashier_keeps_the_order_payable() {
    let shop = Shop::open().await;
    let prepay_id = shop.prepay(order("A100001")).await;
    let (status, left) = shop.control("cancel", json!({"prepay_id": prepay_id})).await;
    assert_eq!((status, left["state"].as_str(), left["cancels"].as_u64()), (200, Some("NOTPAY"), Some(1)));
    let (status, _) = shop.control("pay", json!({"mch_id": MCH_ID, "out_trade_no": "A100001"})).await;
    assert_eq!(status, 200);
    assert_eq!(shop.control("cancel", json!({"prepay_id": prepay_id})).await.1["error"], "already_paid");
}

#[tokio::test]
async fn control_requests_that_make_no_sense_are_answered_why() {
    let shop = Shop::open().await;
    let prepay_id = shop.prepay(order("A100001")).await;
    for (body, status, message) in [
        (json!({}), 400, "exactly one of"),
        (json!({"prepay_id": prepay_id, "code_url": "x"}), 400, "exactly one of"),
        (json!({"out_trade_no": "A100001"}), 400, "several merchants"),
        (json!({"prepay": 1}), 400, "unknown field"),
        (json!({"prepay_id": "wx1"}), 404, "no such order"),
        (json!({"prepay_id": prepay_id, "coupon_fee": 89}), 400, "coupon_fee"),
        (json!({"prepay_id": prepay_id, "coupon_fee": -1}), 400, "coupon_fee"),
    ] {
        let (got, answer) = shop.control("pay", body.clone()).await;
        assert_eq!(got, status, "{body}");
        assert!(answer["message"].as_str().unwrap().contains(message), "{body}: {answer}");
    }
    assert_eq!(shop.payments().await, 0);
}

//! Notifications that verify and are not believed before WeChat was asked.

use serde_json::json;
use wxpay_worker::secret::V2Key;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::seal;
use wxpay_worker::wechat::v2::xml;
use wxpay_worker::wechat::v2::xml::Fields;

use crate::harness::service::{APP_ID, InProcess, KEY, MCH_ID, TestService, jsapi};
use crate::settling::on_both;

/// Posts what verifies as WeChat's word that an order of 100 fen is paid, which WeChat does not know of.
async fn post_forged(service: &InProcess, order_no: &str, attach: &str, sign_type: SignType) -> String {
    let time_end = service.clock.now().to_beijing();
    let fields: Fields = [
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("appid", APP_ID),
        ("mch_id", MCH_ID),
        ("nonce_str", "5K8264ILTKCH16CQ2502SI8ZNMTM67VS"),
        ("out_trade_no", order_no),
        ("transaction_id", "4200001234202603011234567890"),
        ("total_fee", "100"),
        ("cash_fee", "100"),
        ("time_end", &time_end),
        ("trade_type", "JSAPI"),
        ("attach", attach),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .collect();
    let body = xml::write(&seal(fields, &V2Key::parse(KEY).unwrap(), sign_type));
    let request = service.http.post(format!("{}/notify/main/pay", service.base)).header("content-type", "text/xml");
    request.body(body).send().await.unwrap().text().await.unwrap()
}

/// Awaits that WeChat was asked about a payment, which it does not know, until that is a dead letter.
async fn until_asked_in_vain(service: &InProcess, order_no: &str) {
    let taken = format!("SELECT COUNT(*) FROM notifications WHERE out_trade_no = '{order_no}'");
    service.until_number("the notification was taken", &taken, |n| n == 1).await;
    service.skip(300);
    let parked = "SELECT COUNT(*) FROM dead_letters WHERE reason = 'query_differs'";
    service.until_number("a dead letter", parked, |n| n > 0).await;
    let order = service.refreshed_again(order_no).await;
    assert_eq!((&order["state"], &order["credited"]), (&json!("payable"), &json!(false)), "{order}");
    let payments = format!("SELECT COUNT(*) FROM payments WHERE order_no = '{order_no}'");
    assert_eq!(service.number(&payments).await, 0);
}

/// Pays while WeChat answers no query: nothing is credited before it does, and then it is.
async fn is_credited_by_the_answer(service: &InProcess, order_no: &str) {
    service.faults(json!([{"on": "orderquery", "kind": "system_error", "times": null}])).await;
    service.pay(order_no).await;
    let taken = format!("SELECT COUNT(*) FROM notifications WHERE out_trade_no = '{order_no}'");
    service.until_number("the notification was taken", &taken, |n| n == 1).await;
    service.skip(600);
    let payments = format!("SELECT COUNT(*) FROM payments WHERE order_no = '{order_no}'");
    assert_eq!(service.number(&payments).await, 0, "unasked");
    service.clear_faults().await;
    service.skip(120);
    service.until("credited", order_no, |stored| stored.order.paid_reported).await;
}

async fn until_credited(service: &InProcess, order_no: &str) {
    service.pay(order_no).await;
    service.until("credited", order_no, |stored| stored.order.paid_reported).await;
}

on_both! {
    async fn a_message_that_could_be_another_one_is_asked_about_and_a_true_one_is_credited(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("D100001").await;
        // The same signature holds where `coupon_fee` is a field of its own.
        let answer = post_forged(&service, "D100001", "1&coupon_fee=100", SignType::HmacSha256).await;
        assert!(answer.contains("SUCCESS"), "{answer}");
        until_asked_in_vain(&service, "D100001").await;
        // The business's own text may look like that: it is credited by WeChat's answer.
        let mut body = jsapi("D100002", 100);
        body["attach"] = "table=5&x=1".into();
        service.place_as(&body).await;
        is_credited_by_the_answer(&service, "D100002").await;
        // Of a number that no order has: held for finance, by WeChat's answer.
        service.placed_elsewhere_with("D100004", Some("a=1&b=2")).await;
        service.wechat_control("pay", json!({"out_trade_no": "D100004", "mch_id": MCH_ID})).await;
        let taken = "SELECT COUNT(*) FROM notifications WHERE out_trade_no = 'D100004'";
        service.until_number("the notification was taken", taken, |n| n == 1).await;
        service.skip(300);
        let held = "SELECT COUNT(*) FROM payments WHERE out_trade_no = 'D100004' AND class = 'unmatched'";
        service.until_number("the payment of no order", held, |n| n == 1).await;
        // Without a second meaning nothing is asked.
        let mut body = jsapi("D100003", 100);
        body["attach"] = "salt & pepper".into();
        service.place_as(&body).await;
        until_credited(&service, "D100003").await;
        assert!(service.wechat_calls("orderquery", "D100003").await.is_empty());
        service.expect_dead_letters(&["query_differs", "unknown_order"]);
        service.finish().await;
    }
}

#[tokio::test]
async fn above_an_amount_wechat_is_asked_first() {
    let service = TestService::new().merchant("query_before_settle_above_fen = 99").in_process().await;
    service.place("D200001").await;
    post_forged(&service, "D200001", "", SignType::HmacSha256).await;
    until_asked_in_vain(&service, "D200001").await;
    service.place_as(&jsapi("D200002", 100)).await;
    is_credited_by_the_answer(&service, "D200002").await;
    service.place_as(&jsapi("D200003", 99)).await;
    until_credited(&service, "D200003").await;
    assert!(service.wechat_calls("orderquery", "D200003").await.is_empty());
    service.expect_dead_letters(&["query_differs"]);
    service.finish().await;
}

#[tokio::test]
async fn a_merchant_may_take_no_notification_signed_with_md5() {
    let service = TestService::new().merchant("accept_md5 = false").in_process().await;
    service.place("D300001").await;
    let answer = post_forged(&service, "D300001", "", SignType::Md5).await;
    assert!(answer.contains("FAIL"), "{answer}");
    let order = service.refreshed_again("D300001").await;
    assert_eq!(order["state"], "payable", "{order}");
    until_credited(&service, "D300001").await;
    service.finish().await;
}

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

/// Awaits that WeChat was asked about an order, and that it is as WeChat said: not paid.
async fn until_asked_in_vain(service: &InProcess, order_no: &str) {
    let handled =
        format!("SELECT COUNT(*) FROM notifications WHERE out_trade_no = '{order_no}' AND verdict = 'no_payment'");
    service.until_number("the notification was taken", &handled, |n| n == 1).await;
    service.skip(2);
    service
        .found("a question to WeChat", || async {
            (!service.wechat_calls("orderquery", order_no).await.is_empty()).then_some(())
        })
        .await;
    let order = service.refreshed_again(order_no).await;
    assert_eq!((&order["state"], &order["credited"]), (&json!("payable"), &json!(false)), "{order}");
    let ledger = format!("SELECT COUNT(*) FROM payments WHERE order_no = '{order_no}'");
    assert_eq!(service.number(&ledger).await, 0);
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
        until_credited(&service, "D100002").await;
        assert!(!service.wechat_calls("orderquery", "D100002").await.is_empty());
        // Without a second meaning nothing is asked.
        let mut body = jsapi("D100003", 100);
        body["attach"] = "salt & pepper".into();
        service.place_as(&body).await;
        until_credited(&service, "D100003").await;
        assert!(service.wechat_calls("orderquery", "D100003").await.is_empty());
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
    until_credited(&service, "D200002").await;
    assert!(!service.wechat_calls("orderquery", "D200002").await.is_empty());
    service.place_as(&jsapi("D200003", 99)).await;
    until_credited(&service, "D200003").await;
    assert!(service.wechat_calls("orderquery", "D200003").await.is_empty());
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

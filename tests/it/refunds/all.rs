//! Refunds of all that is left: only where the request says so, and of the payment of the first request.

use serde_json::{Value, json};
use wxpay_worker::ids::TransactionId;

use crate::harness::service::{API_KEY, InProcess, TestService, answer};
use crate::settling::on_both;

async fn post(service: &InProcess, order_no: &str, key: Option<&str>, body: &str) -> (u16, Value) {
    let url = format!("{}/v1/orders/{order_no}/refunds", service.base);
    let mut request = service.http.post(url).bearer_auth(API_KEY).header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    answer(request.body(body.to_owned())).await.unwrap()
}

/// The other payment of an order that was paid twice counts from now on, as after a decision on held money.
async fn count_the_other(service: &InProcess, order_no: &str) -> (TransactionId, TransactionId) {
    let order = service.stored(order_no).await.order;
    let counted = order.paid_by.unwrap().transaction_id;
    let other = order.payments.into_iter().map(|p| p.transaction_id).find(|id| *id != counted).unwrap();
    let sql = format!("UPDATE orders SET transaction_id = '{other}' WHERE order_no = '{order_no}'");
    assert_eq!(service.store.db().execute("test", sql, []).await.unwrap(), 1);
    (counted, other)
}

on_both! {
    async fn a_request_that_lost_its_body_refunds_nothing(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("ALL-0001").await;
        for (key, body) in [(None, ""), (None, " "), (None, "{}"), (Some("k"), ""), (Some("k"), "{}"),
            (None, r#"{"refund_no":"r"}"#)] {
            let (status, problem) = post(&service, "ALL-0001", key, body).await;
            assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("/amount_fen")), "{body}: {problem}");
        }
        assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 0);
        let (_, first) = post(&service, "ALL-0001", None, r#"{"all":true}"#).await;
        assert_eq!(first["amount_fen"], json!(100), "{first}");
        // The repeat of a request without number and key is the same refund, too.
        let (_, again) = post(&service, "ALL-0001", None, r#"{"all":true}"#).await;
        assert_eq!(again["refund_no"], first["refund_no"], "{again}");
        assert_eq!(service.wechat_refunds("ALL-0001").await.len(), 1);
        service.finish().await;
    }

    async fn a_repeat_of_the_version_before_is_answered(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("ALL-0002").await;
        // The row is what that version wrote of the same request without the word.
        let (_, first) = post(&service, "ALL-0002", None, r#"{"refund_no":"before","all":true}"#).await;
        let (status, same) = post(&service, "ALL-0002", None, r#"{"refund_no":"before"}"#).await;
        assert!([200, 202].contains(&status) && same["amount_fen"] == first["amount_fen"], "{same}");
        assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 1);
        service.finish().await;
    }

    async fn a_number_or_key_means_the_payment_of_its_first_request(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid_twice("ALL-0003").await;
        let (status, first) = post(&service, "ALL-0003", Some("k1"), r#"{"all":true}"#).await;
        assert!([200, 202].contains(&status), "{first}");
        // Nothing is left: the request is refused, and yet the number has its payment.
        let other = r#"{"refund_no":"r2","all":true}"#;
        let (status, problem) = post(&service, "ALL-0003", None, other).await;
        assert_eq!((status, &problem["left_fen"]), (409, &json!(0)), "{problem}");
        let (counted, now) = count_the_other(&service, "ALL-0003").await;
        assert_eq!(first["transaction_id"], counted.as_str());
        service.a_minute_later().await;
        let (_, same) = post(&service, "ALL-0003", Some("k1"), r#"{"all":true}"#).await;
        assert_eq!((&same["refund_no"], &same["transaction_id"]), (&first["refund_no"], &json!(counted)), "{same}");
        let (status, problem) = post(&service, "ALL-0003", None, other).await;
        assert_eq!((status, &problem["left_fen"]), (409, &json!(0)), "{problem}");
        let (status, problem) = post(&service, "ALL-0003", None, r#"{"refund_no":"r2","amount_fen":10}"#).await;
        assert_eq!((status, &problem["left_fen"]), (409, &json!(0)), "{problem}");
        assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 1);
        // A new number means the payment that counts now.
        let (status, second) = post(&service, "ALL-0003", None, r#"{"refund_no":"r3","all":true}"#).await;
        assert!([200, 202].contains(&status) && second["transaction_id"] == json!(now), "{second}");
        count_the_other(&service, "ALL-0003").await;
        service.finish().await;
    }
}

//! Money that comes late or twice: the merchant's policy, applied once.

use serde_json::json;
use wxpay_worker::order::PaymentClass;
use wxpay_worker::store::StoredOrder;

use super::on_both;
use crate::harness::service::{InProcess, TestService};

on_both! {
    async fn late_money_is_held_unless_the_merchant_says_otherwise(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        late(&service, "P100001").await;
        let events = service.events("P100001").await;
        assert_eq!(events, ["order.payable", "order.closed", "order.paid_late", "payment.held"]);
        service.finish().await;
    }

    async fn an_order_whose_late_money_went_back_has_ended_and_its_token_ends_a_day_later(db: TestDb) {
        let service = TestService::new().on(db).refunds().merchant("paid_late = \"refund\"").in_process().await;
        late(&service, "P600001").await;
        let refund_no = service.one_refund("P600001").await;
        service.poll_until(&refund_no, "processing").await;
        service.ends(&refund_no, "SUCCESS").await;
        service.until_refunded(&refund_no, "succeeded").await;
        let returned = |s: &StoredOrder| s.order.payments.iter().all(|p| p.class == PaymentClass::Returned);
        let stored = service.until("the refund", "P600001", returned).await;
        assert!(!stored.order.paid_reported && !stored.order.any_live(), "{stored:?}");
        let stream = format!("{}/v1/orders/P600001/stream", service.base);
        let open = async || {
            let request = service.http.get(&stream).bearer_auth(stored.order_token.expose());
            request.header("last-event-id", stored.order.version).send().await.unwrap().status().as_u16()
        };
        assert_eq!(open().await, 204, "nothing more comes");
        service.skip(24 * 3600 + 1);
        assert_eq!(open().await, 401);
        service.finish().await;
    }

    async fn late_money_that_is_accepted_pays_the_order(db: TestDb) {
        let service = TestService::new().on(db).merchant("paid_late = \"accept\"").in_process().await;
        late(&service, "P200001").await;
        let events = service.events("P200001").await;
        assert_eq!(events, ["order.payable", "order.closed", "order.paid_late", "order.paid"]);
        let (_, page) = service.get("/v1/events?types=wxpay.order.paid_late.v1&wait=30").await;
        assert_eq!(page["events"][0]["data"]["policy"], "accept", "{page}");
        // The same payment once more, however it is reported, changes nothing.
        service.wechat_control("notify", json!({"out_trade_no": "P200001"})).await;
        assert_eq!(service.events("P200001").await, events);
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger").await, 1);
        service.finish().await;
    }

    async fn money_on_both_attempts_is_paid_twice_and_the_policy_is_applied_once(db: TestDb) {
        let service = TestService::new().on(db).merchant("paid_twice = \"accept\"").in_process().await;
        service.place("P300001").await;
        service.pass(301).await;
        let (status, order) = service.get("/v1/orders/P300001/pay-params?trade_type=NATIVE").await;
        assert_eq!(status, 200, "{order}");
        // A slow bank pays the closed attempt, and the payer the new one.
        service.wechat_control("pay", json!({"out_trade_no": "P300001", "late": true})).await;
        service.until_state("P300001", "paid").await;
        service.pay(order["out_trade_no"].as_str().unwrap()).await;
        let paid = service.until("the second payment", "P300001", |s| s.order.flags.paid_twice).await.order;
        assert_eq!((paid.payments.len(), paid.flags.paid_late), (2, false));
        for number in ["P300001", order["out_trade_no"].as_str().unwrap()] {
            service.wechat_control("notify", json!({"out_trade_no": number})).await;
        }
        let events = service.events("P300001").await;
        assert_eq!(events, ["order.payable", "order.payable", "order.paid", "order.paid_twice"]);
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger").await, 2);
        service.finish().await;
    }

    async fn an_order_that_has_its_money_closes_what_else_can_be_paid(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("P400001").await;
        service.pass(301).await;
        let (_, order) = service.get("/v1/orders/P400001/pay-params?trade_type=NATIVE").await;
        let second = order["out_trade_no"].as_str().unwrap().to_owned();
        service.wechat_control("pay", json!({"out_trade_no": "P400001", "late": true})).await;
        service.until_state("P400001", "paid").await;
        assert_eq!(service.wechat_order(&second).await["state"], "NOTPAY", "too young to be closed");
        service.skip(301);
        service.until("the close of the other attempt", "P400001", |s| !s.order.any_live()).await;
        assert_eq!(service.wechat_order(&second).await["state"], "CLOSED");
        service.finish().await;
    }

    async fn a_payment_across_midnight_in_shanghai_is_paid_on_its_own_day(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        // To ten seconds before the midnight of UTC+8 that ends tomorrow.
        let day_ms = 24 * 3600 * 1000;
        let left = 2 * day_ms - (service.clock.now().as_ms() + 8 * 3600 * 1000) % day_ms;
        service.clock.advance(std::time::Duration::from_millis(u64::try_from(left).unwrap() - 10_000));
        service.place("P500001").await;
        service.skip(20);
        let now = service.clock.now();
        service.pay("P500001").await;
        let paid = service.until_state("P500001", "paid").await.order;
        let paid_at = paid.paid_by.unwrap().paid_at;
        assert!(paid_at <= now && now.since(paid_at).as_secs() < 2, "{paid_at}");
        assert!(!paid.flags.paid_late);
        // An order that expires after midnight is closed then, and not before.
        service.place("P500002").await;
        let expires_at = service.stored("P500002").await.order.expires_at;
        service.skip_to(expires_at);
        service.until_state("P500002", "closed").await;
        service.finish().await;
    }
}

/// An order that is closed and then paid all the same, as when a bank was slow.
async fn late(service: &InProcess, order_no: &str) {
    service.place(order_no).await;
    service.pass(301).await;
    service.post(&format!("/v1/orders/{order_no}/close"), &serde_json::Value::Null).await;
    service.until_state(order_no, "closed").await;
    service.wechat_control("pay", json!({"out_trade_no": order_no, "late": true})).await;
    let paid = service.until_state(order_no, "paid").await.order;
    assert!(paid.flags.paid_late);
}

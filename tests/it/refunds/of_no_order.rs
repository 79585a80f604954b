//! Refunds that others make of money of no order: rows, ledger and events like those of orders.

use serde_json::{Value, json};
use wxpay_worker::store::StoredRefund;

use crate::harness::service::{InProcess, TestService};
use crate::harness::within_timeout;
use crate::settling::on_both;

impl InProcess {
    /// The data of so many events of a type, once the feed has them.
    async fn events_of_type(&self, name: &str, count: usize) -> Vec<Value> {
        within_timeout(&format!("{count} refund.{name}"), async {
            loop {
                let (_, feed) = self.get(&format!("/v1/events?types=wxpay.refund.{name}.v1&wait=10")).await;
                let events = feed["events"].as_array().unwrap();
                if events.len() >= count {
                    return events.iter().map(|event| event["data"].clone()).collect();
                }
            }
        })
        .await
    }

    /// Awaits that a refund made elsewhere is known and has succeeded.
    async fn until_adopted(&self, refund_no: &str) -> StoredRefund {
        let row = format!("SELECT COUNT(*) FROM refunds WHERE refund_no = '{refund_no}'");
        self.until_number("the adoption", &row, |n| n == 1).await;
        self.until_refunded(refund_no, "succeeded").await
    }

    async fn payment_json(&self, transaction_id: &str) -> Value {
        let (status, payment) = self.get(&format!("/v1/payments/{transaction_id}")).await;
        assert_eq!(status, 200, "{payment}");
        payment
    }
}

on_both! {
    async fn one_that_wechat_tells_of_is_adopted_and_the_last_one_returns_the_payment(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.tells_of_console_refunds().await;
        let transaction_id = service.unmatched("NONE0001", json!({})).await;
        for (n, fee) in [60, 40].into_iter().enumerate() {
            let number = service.console("NONE0001", fee).await;
            service.ends(&number, "SUCCESS").await;
            let stored = service.until_adopted(&number).await;
            assert_eq!((stored.order_id, stored.refund.origin.as_str()), (None, "console"));
            let events = service.events_of_type("succeeded", n + 1).await;
            assert_eq!((events.len(), &events[n]["order_no"]), (n + 1, &Value::Null), "{events:?}");
            assert_eq!((&events[n]["refund_no"], &events[n]["origin"]), (&json!(number), &json!("console")));
            for _ in 0..3 {
                let again = json!({"out_trade_no": "NONE0001", "out_refund_no": number});
                service.wechat_control("notify", again).await;
            }
        }
        let payment = service.payment_json(&transaction_id).await;
        assert_eq!((&payment["class"], &payment["refunded_fen"]), (&json!("returned"), &json!(100)), "{payment}");
        let entered = ["refund_ledger", "refunds"].map(|table| format!("SELECT COUNT(*) FROM {table}"));
        assert_eq!((service.number(&entered[0]).await, service.number(&entered[1]).await), (2, 2));
        let (class, order_no, entries) = service.payment(&transaction_id).await;
        assert_eq!((&*class, order_no), ("returned", Value::Null));
        assert_eq!(entries, ["payment >unmatched", "returned unmatched>returned"]);
        let request = json!({"amount_fen": 1, "refund_no": "x"});
        let (status, problem) = service.refund_payment(&transaction_id, request).await;
        assert_eq!((status, &problem["left_fen"]), (409, &json!(0)), "{problem}");
        service.finish().await;
    }

    async fn those_without_a_notification_are_learnt_before_ours_is_called_for(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let transaction_id = service.unmatched("NONE0002", json!({})).await;
        let theirs = service.refunded_silently("NONE0002", 40).await;
        service.a_minute_later().await;
        let request = json!({"refund_no": "ours", "amount_fen": 30});
        let (status, refund) = service.refund_payment(&transaction_id, request).await;
        assert!([200, 202].contains(&status), "{refund}");
        service.until_adopted(&theirs).await;
        service.poll_until("ours", "processing").await;
        service.ends("ours", "SUCCESS").await;
        service.until_refunded("ours", "succeeded").await;
        let payment = service.payment_json(&transaction_id).await;
        assert_eq!((&payment["class"], &payment["refunded_fen"]), (&json!("unmatched"), &json!(70)), "{payment}");
        assert_eq!(service.number("SELECT COUNT(*) FROM refund_ledger").await, 2);
        assert_eq!(service.wechat_refunds("NONE0002").await.len(), 2);
        service.finish().await;
    }

    async fn ours_fails_where_they_left_too_little_and_its_event_says_so(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let transaction_id = service.unmatched("NONE0003", json!({})).await;
        let theirs = service.refunded_silently("NONE0003", 80).await;
        service.a_minute_later().await;
        let request = json!({"refund_no": "ours", "amount_fen": 50});
        let (status, problem) = service.refund_payment(&transaction_id, request).await;
        let said = ["code", "payment_refunded_fen"].map(|name| &problem[name]);
        assert_eq!((status, said), (422, [&json!("refund_failed"), &json!(80)]), "{problem}");
        service.until_adopted(&theirs).await;
        let failed = service.events_of_type("failed", 1).await;
        assert_eq!((failed.len(), &failed[0]["payment_refunded_fen"]), (1, &json!(80)), "{failed:?}");
        let request = json!({"refund_no": "more", "amount_fen": 21});
        let (status, problem) = service.refund_payment(&transaction_id, request).await;
        assert_eq!((status, &problem["left_fen"]), (409, &json!(20)), "{problem}");
        let payment = service.payment_json(&transaction_id).await;
        assert_eq!((&payment["class"], &payment["refunded_fen"]), (&json!("unmatched"), &json!(80)), "{payment}");
        service.finish().await;
    }

    async fn the_event_of_an_orders_refund_says_so_too_and_of_no_other(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("NONE0004").await;
        service.refunded_silently("NONE0004", 100).await;
        service.pass(61).await;
        let (status, problem) = service.give_back("NONE0004", json!({"refund_no": "ours", "amount_fen": 30})).await;
        assert_eq!((status, &problem["payment_refunded_fen"]), (422, &json!(100)), "{problem}");
        let failed = service.events_of_type("failed", 1).await;
        assert_eq!((failed.len(), &failed[0]["payment_refunded_fen"]), (1, &json!(100)), "{failed:?}");
        service.until_number("theirs", "SELECT COUNT(*) FROM refund_ledger", |n| n == 1).await;
        for (name, count) in [("requested", 2), ("succeeded", 1)] {
            for event in service.events_of_type(name, count).await {
                assert_eq!(event.get("payment_refunded_fen"), None, "{event}");
            }
        }
        service.finish().await;
    }

    async fn an_order_that_appears_afterwards_is_not_paid_by_what_is_left(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.tells_of_console_refunds().await;
        let transaction_id = service.unmatched("NONE0005", json!({})).await;
        let number = service.console("NONE0005", 60).await;
        service.ends(&number, "SUCCESS").await;
        service.until_adopted(&number).await;
        service.appears("NONE0005").await;
        let (_, order) = service.get("/v1/orders/NONE0005?refresh=1").await;
        assert_eq!((&order["credited"], &order["flags"]), (&json!(false), &json!(["paid_before_order"])), "{order}");
        let payment = &order["payments"][0];
        assert_eq!((&payment["class"], &payment["refunded_fen"]), (&json!("held"), &json!(60)), "{order}");
        assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 1, "one row, with or without an order");
        let (_, problem) = service.post(
            "/v1/orders/NONE0005/accept", &json!({"transaction_id": transaction_id, "reason": "x"}),
        ).await;
        assert_eq!(problem["code"], json!("payment_given_back"), "{problem}");
        service.skip_to(service.stored("NONE0005").await.order.expires_at);
        service.until_state("NONE0005", "closed").await;
        service.finish().await;
    }
}

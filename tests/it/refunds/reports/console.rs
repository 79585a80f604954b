//! Refunds that a person makes in the merchant platform: adopted on WeChat's word alone.

use serde_json::json;
use wxpay_worker::store::StoredOrder;

use crate::harness::service::{InProcess, MCH_ID, TestService};
use crate::settling::on_both;

impl InProcess {
    /// A person refunds in the merchant platform; gives the number it made.
    pub async fn console(&self, out_trade_no: &str, refund_fee: i64) -> String {
        let body = json!({"mch_id": MCH_ID, "out_trade_no": out_trade_no, "refund_fee": refund_fee});
        let refund = self.wechat_control("refunds/console", body).await;
        refund["out_refund_no"].as_str().unwrap().to_owned()
    }

    /// The merchant platform tells of all refunds, also those that name no address.
    pub async fn tells_of_console_refunds(&self) {
        let address = format!("{}/notify/main/refund", self.base);
        self.wechat_control("merchant", json!({"mch_id": MCH_ID, "refund_notify_url": address})).await;
    }
}

on_both! {
    async fn a_console_refund_is_adopted_when_wechat_tells_of_it(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.tells_of_console_refunds().await;
        service.paid("C100001").await;
        let number = service.console("C100001", 60).await;
        service.ends(&number, "SUCCESS").await;
        service.until_number("the adoption", "SELECT COUNT(*) FROM refund_ledger", |n| n > 0).await;
        let stored = service.until_refunded(&number, "succeeded").await.refund;
        assert_eq!((stored.origin.as_str(), stored.amount.as_i64()), ("console", 60));
        let (_, order) = service.get("/v1/orders/C100001").await;
        assert_eq!(
            (&order["refunded_fen"], &order["refunds"][0]["origin"]), (&json!(60), &json!("console")), "{order}",
        );
        assert_eq!(service.events("C100001").await[2..], ["refund.requested", "refund.succeeded"], "the same path");
        let (status, problem) = service.give_back("C100001", json!({"refund_no": "mine", "amount_fen": 41})).await;
        assert_eq!((status, &problem["left_fen"]), (409, &json!(40)), "it is reserved like ours: {problem}");
        // Reported again and again, it stays one.
        for _ in 0..5 {
            service.wechat_control("notify", json!({"out_trade_no": "C100001", "out_refund_no": number})).await;
        }
        assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 1);
        service.finish().await;
    }

    async fn a_paid_and_refunded_order_without_notifications_is_rebuilt_by_queries(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.faults(json!([{"on": "notify", "kind": "drop"}, {"on": "refund_notify", "kind": "drop"}])).await;
        service.place("C200001").await;
        service.pay("C200001").await;
        let mut numbers = Vec::new();
        // More than WeChat lists at once.
        for fee in 1..=12 {
            let number = service.console("C200001", fee).await;
            if fee % 2 == 0 {
                service.ends(&number, "SUCCESS").await;
            }
            numbers.push(number);
        }
        // The first list is lost: the order keeps its question.
        service.faults(json!([{"on": "refundquery", "kind": "answer_lost", "times": 3}])).await;
        service.skip_to(service.stored("C200001").await.order.queries.next_at.unwrap());
        let paid = service.until_state("C200001", "paid").await;
        assert!(paid.order.paid_reported);
        for polls in 0..10 {
            assert!(polls < 9, "the refunds are never learnt");
            if service.number("SELECT COUNT(*) FROM refunds").await == 12 {
                break;
            }
            // Ever more rarely.
            if let Some(at) = service.stored("C200001").await.order.queries.next_at {
                service.skip_to(at);
            }
            service.pass(10).await;
        }
        for (n, number) in numbers.iter().enumerate() {
            let state = if n % 2 == 1 { "succeeded" } else { "processing" };
            service.poll_until(number, state).await;
        }
        let order = service.until("no more questions", "C200001", |s| s.order.queries.next_at.is_none()).await;
        assert_eq!(order.refunded.as_i64(), 2 + 4 + 6 + 8 + 10 + 12);
        assert_eq!(service.events("C200001").await.iter().filter(|n| *n == "order.paid").count(), 1);
        for number in numbers.iter().step_by(2) {
            service.ends(number, "SUCCESS").await;
        }
        for number in &numbers {
            service.poll_until(number, "succeeded").await;
        }
        assert_eq!(service.get("/v1/orders/C200001").await.1["refunded_fen"], json!(78));
        service.finish().await;
    }

    async fn a_console_refund_of_money_that_ours_had_reserved_is_adopted_once_wechat_refused_ours(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.tells_of_console_refunds().await;
        service.paid("C300001").await;
        // Ours never reaches WeChat; meanwhile a person gives everything back by hand.
        service.faults(json!([{"on": "refund", "kind": "drop", "times": 1}])).await;
        service.give_back_unheard("C300001", json!({"refund_no": "ours", "all": true})).await;
        service.until_idle().await;
        let number = service.console("C300001", 100).await;
        service.ends(&number, "SUCCESS").await;
        for polls in 0..30 {
            assert!(polls < 29, "{:?}", service.refund("ours").await);
            if service.number("SELECT COUNT(*) FROM refund_ledger").await == 1 {
                break;
            }
            service.pass(70).await;
        }
        service.until_refunded("ours", "failed").await;
        service.until_refunded(&number, "succeeded").await;
        assert_eq!(service.get("/v1/orders/C300001").await.1["refunded_fen"], json!(100));
        service.finish().await;
    }

    async fn a_closed_console_refund_needs_no_room_and_leaves_nothing_to_learn(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.without_news().await;
        service.paid("C400001").await;
        let number = service.console("C400001", 60).await;
        service.ends(&number, "REFUNDCLOSE").await;
        service.pass(61).await;
        // Ours holds everything.
        service.refunding("C400001", "ours", 100).await;
        service.poll_the_order("C400001").await;
        service.until("learnt", "C400001", |s| s.order.queries.next_at.is_none()).await;
        assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 1, "it moved nothing");
        service.finish().await;
    }

    async fn refunds_that_cannot_be_learnt_are_asked_for_ever_more_rarely(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.without_news().await;
        service.paid("C500001").await;
        service.console("C500001", 60).await;
        service.faults(json!([{"on": "refundquery", "kind": "system_error"}])).await;
        let mut pauses = Vec::new();
        for pause in [100, 60, 200, 400, 3000, 9000] {
            // With its own poll, if one is due.
            service.pass(pause).await;
            let before = service.stored("C500001").await.order.queries.answered_at;
            service.poll_the_order("C500001").await;
            // Taken up by the scheduler it is put off for a minute; by the answer it is scheduled anew.
            let answered = |s: &StoredOrder| s.order.queries.answered_at != before;
            let order = service.until("answered", "C500001", answered).await.order;
            pauses.push(order.queries.next_at.unwrap().since(service.clock.now()).as_secs());
        }
        assert!(pauses.windows(2).all(|p| p[0] <= p[1]), "{pauses:?}");
        assert!((100..120).contains(&pauses[0]) && pauses[3] > 600 && pauses[5] == 3600, "{pauses:?}");
        service.finish().await;
    }
}

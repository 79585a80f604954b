//! Closing: at its expiry, because the business asks, and in a race with the payer.

use serde_json::{Value, json};
use wxpay_worker::order::{AttemptState, OrderState};
use wxpay_worker::store::StoredOrder;

use super::on_both;
use crate::harness::service::{TestService, jsapi};

const FIVE_MINUTES: u64 = 300;

on_both! {
    async fn an_unpaid_order_is_closed_at_wechat_at_its_expiry_and_queried_twice_more(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("C100001").await;
        let expires_at = service.stored("C100001").await.order.expires_at;
        service.skip_to(expires_at);
        let closed = service.until_state("C100001", "closed").await;
        assert_eq!(service.wechat_order("C100001").await["state"], "CLOSED", "closed at WeChat, not only here");
        assert_eq!(service.events("C100001").await, ["order.payable", "order.closed"]);
        let mut polls = Vec::new();
        let mut next = closed.order.queries.next_at;
        while let Some(at) = next {
            polls.push(at.since(service.clock.now()).as_secs());
            service.skip_to(at);
            let done = closed.order.queries.done + polls.len() as u32;
            let stored = service.until("a query after the close", "C100001", |s| s.order.queries.done == done).await;
            next = stored.order.queries.next_at;
        }
        assert_eq!(polls.len(), 2, "{polls:?}");
        assert!(polls[0] >= 120 && polls[1] >= 1700, "{polls:?}");
        service.finish().await;
    }

    async fn a_close_that_is_asked_for_waits_until_wechat_allows_it(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("C200001").await;
        let (status, order) = service.post("/v1/orders/C200001/close", &Value::Null).await;
        assert_eq!((status, &order["state"], &order["pending"]), (202, &json!("payable"), &json!("close")), "{order}");
        let (status, problem) = service.get("/v1/orders/C200001/pay-params").await;
        assert_eq!(
            (status, &problem["code"]), (409, &json!("order_closing")), "an order that is being closed is not offered",
        );
        assert_eq!(service.wechat_order("C200001").await["state"], "NOTPAY");
        service.skip(FIVE_MINUTES + 1);
        service.until_state("C200001", "closed").await;
        assert_eq!(service.wechat_order("C200001").await["state"], "CLOSED");
        let (status, order) = service.post("/v1/orders/C200001/close", &Value::Null).await;
        assert_eq!((status, &order["state"]), (200, &json!("closed")), "a repeat has the same answer");
        let (_, page) = service.get("/v1/events?types=wxpay.order.closed.v1&wait=30").await;
        assert_eq!(page["events"].as_array().map(Vec::len), Some(1), "{page}");
        let asked = "SELECT COUNT(*) FROM evidence WHERE source = 'request' AND source_id = 'test'";
        assert_eq!(service.number(asked).await, 1, "who asked for the close is kept");
        service.finish().await;
    }

    async fn an_old_order_is_closed_while_the_caller_waits(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("C300001").await;
        service.pass(FIVE_MINUTES + 1).await;
        let (status, order) = service.post("/v1/orders/C300001/close", &Value::Null).await;
        assert_eq!((status, &order["state"]), (200, &json!("closed")), "{order}");
        assert_eq!(service.wechat_order("C300001").await["state"], "CLOSED");
        service.finish().await;
    }

    async fn a_payer_who_is_faster_than_the_close_has_paid(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("C400001").await;
        service.pass(FIVE_MINUTES + 1).await;
        // The notification is lost and the query answers before the payment: only the close finds it. A scheduled poll
        // may close the order, too.
        service.faults(json!([
            {"on": "notify", "kind": "drop"},
            {"on": "closeorder", "kind": "delay", "delay_ms": 6000, "times": null},
        ])).await;
        let (answer, ()) = tokio::join!(service.post("/v1/orders/C400001/close", &Value::Null), async {
            let path = format!("{}/_sandbox/requests?out_trade_no=C400001", service.wechat_url);
            crate::harness::within_timeout("the query before the close", async {
                loop {
                    let seen: Value = service.http.get(&path).send().await.unwrap().bytes().await
                        .map(|b| serde_json::from_slice(&b).unwrap()).unwrap();
                    if seen.to_string().contains("orderquery") {
                        break;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }).await;
            service.pay("C400001").await;
        });
        let paid = service.until_state("C400001", "paid").await;
        assert!(!paid.order.flags.paid_late, "paid before it was closed");
        assert!([202, 409].contains(&answer.0), "{answer:?}");
        assert_eq!(service.events("C400001").await, ["order.payable", "order.paid"]);
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger").await, 1);
        service.finish().await;
    }

    async fn a_close_without_an_answer_is_never_read_as_closed_and_converges(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("C500001").await;
        service.pass(FIVE_MINUTES + 1).await;
        // Executed, and its answer is lost; then the question about it has no answer either.
        service.faults(json!([
            {"on": "closeorder", "kind": "answer_lost", "times": 2},
            {"on": "orderquery", "kind": "system_error", "executed": false, "times": 2},
        ])).await;
        let (status, order) = service.post_waiting("/v1/orders/C500001/close", &Value::Null, 1).await;
        assert_eq!(status, 202, "{order}");
        assert_eq!(order["state"], "payable", "unknown is not closed");
        let mut polls = 0;
        while service.stored("C500001").await.order.state != OrderState::Closed {
            assert!(polls < 20, "{:?}", service.stored("C500001").await.order);
            service.pass(20).await;
            polls += 1;
        }
        let closed = service.until_state("C500001", "closed").await;
        assert_eq!(closed.order.attempts[0].state, AttemptState::Closed);
        assert_eq!(service.events("C500001").await, ["order.payable", "order.closed"]);
        service.finish().await;
    }

    async fn queries_after_a_close_that_have_no_answer_do_not_count(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("C800001").await;
        service.pass(FIVE_MINUTES + 1).await;
        service.post("/v1/orders/C800001/close", &Value::Null).await;
        let closed = service.until_state("C800001", "closed").await.order;
        service.faults(json!([
            {"on": "orderquery", "kind": "system_error", "executed": false, "times": null},
            {"on": "notify", "kind": "drop", "times": null},
        ])).await;
        service.wechat_control("pay", json!({"out_trade_no": "C800001", "late": true})).await;
        let mut next = closed.queries.next_at.unwrap();
        for _ in 0..3 {
            service.skip_to(next);
            let is_later = |at| at > next && at > service.clock.now();
            let later = |s: &StoredOrder| s.order.queries.next_at.is_some_and(is_later);
            next = service.until("a query in vain", "C800001", later).await.order.queries.next_at.unwrap();
        }
        let url = format!("{}/_sandbox/faults", service.wechat_url);
        service.http.delete(url).send().await.unwrap();
        service.skip_to(next);
        let paid = service.until_state("C800001", "paid").await.order;
        assert!(paid.flags.paid_late);
        service.finish().await;
    }

    async fn queries_out_of_schedule_leave_the_orders_own_alone(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("C900001").await;
        let before = service.stored("C900001").await.order.queries;
        for _ in 0..2 {
            service.refreshed_again("C900001").await;
            let answered = service.stored("C900001").await.order.queries;
            assert!(answered.answered_at.is_some(), "WeChat was asked");
            assert_eq!((answered.done, answered.next_at), (before.done, before.next_at));
        }
        service.finish().await;
    }

    async fn what_cannot_be_closed_says_why(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("C600001").await;
        service.pay("C600001").await;
        service.until_state("C600001", "paid").await;
        let (status, problem) = service.post("/v1/orders/C600001/close", &Value::Null).await;
        assert_eq!((status, &problem["code"]), (409, &json!("order_ended")), "{problem}");
        let (status, problem) = service.post("/v1/orders/NONE0001/close", &Value::Null).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{problem}");
        service.finish().await;
    }

    async fn a_closed_orders_number_is_not_taken_again(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("C700001").await;
        service.pass(FIVE_MINUTES + 1).await;
        service.post("/v1/orders/C700001/close", &Value::Null).await;
        service.until_state("C700001", "closed").await;
        let (status, order) = service.post("/v1/orders", &jsapi("C700001", 100)).await;
        assert_eq!((status, &order["state"], &order["pay_params"]), (200, &json!("closed"), &Value::Null), "{order}");
        service.finish().await;
    }
}

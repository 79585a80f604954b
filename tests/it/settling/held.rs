//! Money that does not fit its order: held, announced, listed; accepted or given back, never both.

use serde_json::{Value, json};
use wxpay_worker::clock::Timestamp;

use super::on_both;
use crate::harness::service::{InProcess, TestService};

/// A payment that WeChat holds under the order's number and that is not the order's.
pub async fn paid_as(service: &InProcess, order_no: &str, how: Value) -> String {
    let mut request = json!({"out_trade_no": order_no});
    request.as_object_mut().unwrap().extend(how.as_object().unwrap().clone());
    let payment = service.wechat_control("pay", request).await;
    payment["transaction_id"].as_str().unwrap().to_owned()
}

pub fn yesterday(service: &InProcess) -> String {
    Timestamp::from_ms(service.clock.now().as_ms() - 24 * 3600 * 1000).to_string()
}

pub async fn until_held(service: &InProcess, order_no: &str) {
    let what = format!("a held payment of {order_no}");
    // What WeChat posted and does not fit is asked about in the scheduler's next round.
    service.until_number(&what, &format!("SELECT version FROM orders WHERE order_no = '{order_no}'"), |n| n > 2).await;
    service.skip(2);
    let held = format!("SELECT COUNT(*) FROM payments WHERE order_no = '{order_no}' AND class = 'held'");
    service.until_number(&what, &held, |n| n == 1).await;
}

pub async fn accept(service: &InProcess, order_no: &str, transaction_id: &str) -> (u16, Value) {
    let body = json!({"transaction_id": transaction_id, "reason": "the shop delivers all the same"});
    service.post(&format!("/v1/orders/{order_no}/accept"), &body).await
}

/// The classes of an order's payments, and the entries of the ledger about them.
pub async fn classes(service: &InProcess, order_no: &str) -> (Vec<String>, Vec<String>) {
    let (_, order) = service.get(&format!("/v1/orders/{order_no}")).await;
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let (mut classes, mut entries) = (Vec::new(), Vec::new());
    for payment in order["payments"].as_array().unwrap() {
        classes.push(format!("{} {}", text(&payment["class"]), text(&payment["reason"])));
        let (status, one) = service.get(&format!("/v1/payments/{}", text(&payment["transaction_id"]))).await;
        assert_eq!(status, 200, "{one}");
        let rows = one["history"].as_array().unwrap().iter();
        entries.extend(rows.map(|e| format!("{} {}>{}", text(&e["entry"]), text(&e["from"]), text(&e["to"]))));
    }
    (classes, entries)
}

pub fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

on_both! {
    async fn a_payment_older_than_its_order_is_held_and_the_order_closes_at_its_expiry(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("H100001").await;
        paid_as(&service, "H100001", json!({"paid_at": "2025-01-02T03:04:05Z"})).await;
        until_held(&service, "H100001").await;
        let (_, order) = service.get("/v1/orders/H100001").await;
        assert_eq!((&order["state"], &order["flags"]), (&json!("payable"), &json!(["paid_before_order"])), "{order}");
        assert_eq!((&order["credited"], &order["pay_params"]), (&json!(false), &Value::Null), "{order}");
        for (path, body) in [("pay-params", None), ("attempts", Some(json!({"trade_type": "NATIVE"})))] {
            let path = format!("/v1/orders/H100001/{path}");
            let (status, problem) = match body {
                None => service.get(&path).await,
                Some(body) => service.post(&path, &body).await,
            };
            assert_eq!((status, &problem["code"]), (409, &json!("order_held")), "{problem}");
        }
        service.skip_to(service.stored("H100001").await.order.expires_at);
        service.until_state("H100001", "closed").await;
        assert_eq!(service.events("H100001").await, ["order.payable", "payment.held", "order.closed"]);
        let (classes, entries) = classes(&service, "H100001").await;
        assert_eq!((classes, entries), (texts(&["held before_order"]), texts(&["payment ->held"])));
        service.finish().await;
    }

    async fn clocks_that_differ_a_little_do_not_make_a_payment_older_than_its_order(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("H150001").await;
        let created = service.stored("H150001").await.order.attempts[0].created_at;
        let before = Timestamp::from_ms(created.as_ms() - 595_000);
        paid_as(&service, "H150001", json!({"paid_at": before.to_string()})).await;
        assert!(service.until_state("H150001", "paid").await.order.paid_reported);
        service.finish().await;
    }

    async fn money_of_another_amount_is_held_once_wechat_confirms_it_and_can_be_accepted(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.expect_dead_letters(&["amount_differs"]);
        service.place("H200001").await;
        let transaction_id = paid_as(&service, "H200001", json!({"total_fee": 99})).await;
        until_held(&service, "H200001").await;
        let (_, events) = service.get("/v1/events?types=wxpay.payment.held.v1&wait=30").await;
        let data = &events["events"][0]["data"];
        let said = ["order_no", "transaction_id", "amount_fen", "order_amount_fen", "reason", "learnt_by"];
        let expected = json!(["H200001", transaction_id, 99, 100, "mismatched", "query"]);
        assert_eq!(json!(said.map(|name| &data[name])), expected, "{events}");
        let (status, listed) = service.get("/v1/payments?class=held").await;
        let amount = &listed["payments"][0]["amount_fen"];
        assert_eq!((status, amount, listed["payments"].as_array().map(Vec::len)), (200, &json!(99), Some(1)));
        for round in 0..2 {
            let (status, order) = accept(&service, "H200001", &transaction_id).await;
            assert_eq!((status, &order["state"], &order["credited"]), (200, &json!("paid"), &json!(true)), "{order}");
            assert_eq!(order["transaction_id"], json!(transaction_id), "{round}");
        }
        let events = service.events("H200001").await;
        assert_eq!(events, ["order.payable", "notification.rejected", "payment.held", "order.paid"]);
        let (_, events) = service.get("/v1/events?types=wxpay.order.paid.v1&wait=30").await;
        let data = &events["events"][0]["data"];
        let said = ["amount_fen", "order_amount_fen", "accepted"].map(|name| &data[name]);
        assert_eq!(json!(said), json!([99, 100, true]), "{events}");
        let (classes, entries) = classes(&service, "H200001").await;
        let accepted = texts(&["payment ->held", "accepted held>credited"]);
        assert_eq!((classes, entries), (texts(&["credited mismatched"]), accepted));
        let audited = "SELECT COUNT(*) FROM audit WHERE action = 'payment.accept' AND order_no = 'H200001'
                       AND reason = 'the shop delivers all the same' AND remote_addr <> '' AND result = ";
        for result in ["done", "repeated"] {
            assert_eq!(service.number(&format!("{audited}'{result}'")).await, 1, "{result}");
        }
        service.finish().await;
    }

    async fn money_in_another_currency_can_only_be_given_back(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.expect_dead_letters(&["currency_differs"]);
        service.place("H300001").await;
        let transaction_id = paid_as(&service, "H300001", json!({"fee_type": "USD"})).await;
        until_held(&service, "H300001").await;
        let (status, problem) = accept(&service, "H300001", &transaction_id).await;
        assert_eq!((status, &problem["code"]), (409, &json!("payment_foreign")), "{problem}");
        let (status, problem) = accept(&service, "H300001", "4200000000000000000000000000").await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{problem}");
        let (classes, _) = classes(&service, "H300001").await;
        assert_eq!(classes, texts(&["held mismatched"]));
        let refused = "SELECT COUNT(*) FROM audit WHERE result IN ('foreign_payment', 'unknown_payment')";
        assert_eq!(service.number(refused).await, 2);
        service.finish().await;
    }

    async fn a_second_payment_that_is_accepted_is_no_second_order_paid(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("H400001").await;
        service.pass(301).await;
        let (_, order) = service.get("/v1/orders/H400001/pay-params?trade_type=NATIVE").await;
        let second = order["out_trade_no"].as_str().unwrap().to_owned();
        service.pay(&second).await;
        service.until_state("H400001", "paid").await;
        let transaction_id = paid_as(&service, "H400001", json!({"late": true})).await;
        service.until("the second payment", "H400001", |s| s.order.flags.paid_twice).await;
        for _ in 0..2 {
            let (status, order) = accept(&service, "H400001", &transaction_id).await;
            assert_eq!((status, &order["state"]), (200, &json!("paid")), "{order}");
            assert_ne!(order["transaction_id"], json!(transaction_id));
        }
        let events = service.events("H400001").await;
        let expected =
            ["order.payable", "order.payable", "order.paid", "order.paid_twice", "payment.held", "payment.accepted"];
        assert_eq!(events, expected);
        assert_eq!(classes(&service, "H400001").await.0, texts(&["credited -", "credited twice"]));
        service.finish().await;
    }

    async fn a_payment_within_the_grace_after_the_expiry_is_in_time(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        for (order_no, late_by) in [("H500001", 59), ("H500002", 61)] {
            service.place(order_no).await;
            let expires_at = service.stored(order_no).await.order.expires_at;
            let paid_at = expires_at.after(std::time::Duration::from_secs(late_by));
            paid_as(&service, order_no, json!({"paid_at": paid_at.to_string()})).await;
            let order = service.until_state(order_no, "paid").await.order;
            assert_eq!((order.paid_reported, order.flags.paid_late), (late_by < 60, late_by > 60), "{late_by} s");
        }
        service.finish().await;
    }

    async fn held_money_that_goes_back_cannot_be_accepted_and_is_returned(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.place("H600001").await;
        let transaction_id = paid_as(&service, "H600001", json!({"paid_at": yesterday(&service)})).await;
        until_held(&service, "H600001").await;
        let refund = json!({"refund_no": "H600001-R", "amount_fen": 100, "transaction_id": transaction_id});
        let (status, answer) = service.post("/v1/orders/H600001/refunds", &refund).await;
        assert!([200, 202].contains(&status), "{answer}");
        let (status, problem) = accept(&service, "H600001", &transaction_id).await;
        assert_eq!((status, &problem["code"]), (409, &json!("payment_given_back")), "{problem}");
        service.poll_until("H600001-R", "processing").await;
        service.ends("H600001-R", "SUCCESS").await;
        service.until_refunded("H600001-R", "succeeded").await;
        let (classes, entries) = classes(&service, "H600001").await;
        let returned = texts(&["payment ->held", "returned held>returned"]);
        assert_eq!((classes, entries), (texts(&["returned before_order"]), returned));
        let (status, problem) = accept(&service, "H600001", &transaction_id).await;
        assert_eq!((status, &problem["code"]), (409, &json!("payment_given_back")), "{problem}");
        assert_eq!(service.number("SELECT COUNT(*) FROM orders WHERE paid_told").await, 0);
        let audited = "SELECT COUNT(*) FROM audit WHERE action = 'payment.give_back' AND result = 'done'";
        assert_eq!(service.number(audited).await, 1);
        service.finish().await;
    }

    async fn held_money_that_went_back_elsewhere_cannot_be_accepted_though_no_report_of_it_came(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let mut held = Vec::new();
        for order_no in ["H650001", "H650002", "H650003"] {
            service.place(order_no).await;
            held.push(paid_as(&service, order_no, json!({"paid_at": yesterday(&service)})).await);
            until_held(&service, order_no).await;
        }
        service.refunded_silently("H650001", 40).await;
        let closed = service.silent_console("H650002", 40).await;
        service.ends(&closed, "REFUNDCLOSE").await;
        let (status, problem) = accept(&service, "H650001", &held[0]).await;
        assert_eq!((status, &problem["code"]), (409, &json!("payment_given_back")), "{problem}");
        service.skip(2);
        service.until_number("the refund", "SELECT COUNT(*) FROM refund_ledger", |n| n == 1).await;
        let (status, order) = accept(&service, "H650002", &held[1]).await;
        assert_eq!((status, &order["state"]), (200, &json!("paid")), "no money moved: {order}");
        // Without WeChat's answer nothing is credited.
        service.faults(json!([{"on": "orderquery", "kind": "system_error", "out_trade_no": "H650003"}])).await;
        let (status, problem) = accept(&service, "H650003", &held[2]).await;
        assert_eq!((status, &problem["retryable"]), (503, &json!(true)), "{problem}");
        let credited = "SELECT COUNT(*) FROM ledger WHERE entry = 'accepted'";
        assert_eq!(service.number(credited).await, 1);
        service.clear_faults().await;
        let (status, order) = accept(&service, "H650003", &held[2]).await;
        assert_eq!((status, &order["state"]), (200, &json!("paid")), "{order}");
        service.finish().await;
    }

    async fn of_accepting_and_giving_back_at_once_exactly_one_happens(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let mut outcomes = std::collections::BTreeSet::new();
        for n in 0..12 {
            let order_no = format!("H70000{n:02}");
            service.place(&order_no).await;
            let transaction_id = paid_as(&service, &order_no, json!({"paid_at": yesterday(&service)})).await;
            until_held(&service, &order_no).await;
            let refund = json!({
                "refund_no": format!("{order_no}-R"), "amount_fen": 100, "transaction_id": transaction_id,
            });
            let refunds = format!("/v1/orders/{order_no}/refunds");
            let giving_back = service.post(&refunds, &refund);
            let ((accepted, a), (given_back, b)) = match n % 2 {
                0 => tokio::join!(accept(&service, &order_no, &transaction_id), giving_back),
                _ => {
                    let (b, a) = tokio::join!(giving_back, accept(&service, &order_no, &transaction_id));
                    (a, b)
                }
            };
            let accepted_in_time = accepted == 200;
            // What was accepted before the refund read it is credited money, which may be refunded.
            assert!(accepted_in_time || given_back < 300, "neither: {a} {b}");
            if given_back == 409 {
                assert_eq!(b["code"], json!("payment_accepted"), "{b}");
            }
            if !accepted_in_time {
                assert_eq!(a["code"], json!("payment_given_back"), "{a}");
            }
            outcomes.insert((accepted, given_back));
            let held_and_accepted = format!(
                "SELECT COUNT(*) FROM ledger a JOIN ledger r ON r.transaction_id = a.transaction_id
                 WHERE a.entry = 'accepted' AND r.entry = 'returned' AND a.order_no = '{order_no}'"
            );
            assert_eq!(service.number(&held_and_accepted).await, 0);
        }
        service.leave_unfinished("refunds on their way");
        service.finish().await;
    }
}

//! Money of no order, and money in other currencies: given back by its payment, in WeChat's own amounts.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::fact::Payment;
use wxpay_worker::ids::{AppId, EventId, MchId, MerchantKey, OutTradeNo, TransactionId};
use wxpay_worker::money::Fen;

use super::on_both;
use crate::harness::service::{API_KEY, APP_ID, InProcess, MCH_ID, TestService, answer, jsapi};
use crate::harness::{size, within_timeout};
use crate::order::dice::Dice;

fn main() -> MerchantKey {
    MerchantKey::parse("main").unwrap()
}

impl InProcess {
    /// A payment of no order that is known here: what follows from its notification without waiting four minutes.
    pub async fn unmatched(&self, number: &str, how: Value) -> String {
        self.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        let paid = self.sold_elsewhere(number, how).await;
        self.reported(&paid, 0).await
    }

    /// Enters the payment as reported, with so much added to its amount.
    async fn reported(&self, paid: &Value, more: i64) -> String {
        let text = |name: &str| paid[name].as_str().unwrap().to_owned();
        let payment = Payment {
            mch_id: MchId::parse(MCH_ID).unwrap(),
            appid: AppId::parse(APP_ID).unwrap(),
            out_trade_no: OutTradeNo::parse(text("out_trade_no")).unwrap(),
            transaction_id: TransactionId::parse(text("transaction_id")).unwrap(),
            total_fee: Fen::from_i64(paid["total_fee"].as_i64().unwrap() + more),
            fee_type: text("fee_type"),
            time_end: Timestamp::parse_rfc3339(&text("paid_at")).unwrap(),
            openid: None,
            bank_type: None,
            cash_fee: None,
            settlement_total_fee: None,
            coupons: Vec::new(),
        };
        self.store.enter_unmatched(&main(), &payment, EventId::new(), self.clock.now()).await.unwrap();
        text("transaction_id")
    }

    /// The order of a number that is paid appears here, so that the payment may be its own: of the calls that place it,
    /// the first has no answer.
    pub async fn appears(&self, number: &str) {
        let lost = json!([{
            "on": "unifiedorder", "kind": "http_500", "executed": false, "times": 1, "out_trade_no": number,
        }]);
        self.faults(lost).await;
        let (status, order) = self.post("/v1/orders", &jsapi(number, 100)).await;
        assert!([200, 202].contains(&status), "{order}");
        self.until("the payment", number, |s| !s.order.payments.is_empty()).await;
    }

    pub async fn refund_payment(&self, transaction_id: &str, body: Value) -> (u16, Value) {
        self.post(&format!("/v1/payments/{transaction_id}/refunds"), &body).await
    }

    /// Awaits that WeChat saw so many calls about a number since it was sold.
    async fn until_calls(&self, api: &str, number: &str, count: usize) {
        within_timeout("the calls", async {
            while self.wechat_calls(api, number).await.len() <= count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The refund is taken on by WeChat and succeeds.
    async fn goes_through(&self, refund_no: &str) {
        self.poll_until(refund_no, "processing").await;
        self.ends(refund_no, "SUCCESS").await;
        self.until_refunded(refund_no, "succeeded").await;
    }

    /// Class, order and the entries of the ledger.
    pub async fn payment(&self, transaction_id: &str) -> (String, Value, Vec<String>) {
        let (status, payment) = self.get(&format!("/v1/payments/{transaction_id}")).await;
        assert_eq!(status, 200, "{payment}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entry = |e: &Value| format!("{} {}>{}", text(&e["entry"]), text(&e["from"]), text(&e["to"]));
        let entries = payment["history"].as_array().unwrap().iter().map(entry).collect();
        (text(&payment["class"]), payment["order_no"].clone(), entries)
    }
}

on_both! {
    async fn a_payment_that_wechat_posted_and_no_order_has_goes_back_whole(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.expect_dead_letters(&["unknown_order"]);
        let paid = service.sold_elsewhere("ELSE-0001", json!({})).await;
        let transaction_id = paid["transaction_id"].as_str().unwrap();
        within_timeout("the payment of no order", async {
            while service.number("SELECT COUNT(*) FROM payments").await == 0 {
                service.pass(61).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
        .await;
        let (status, refund) = service.refund_payment(transaction_id, json!({"all": true, "reason": "not ours"})).await;
        assert!([200, 202].contains(&status), "{refund}");
        assert_eq!((&refund["order_no"], &refund["amount_fen"]), (&Value::Null, &json!(100)), "{refund}");
        assert_eq!(service.wechat_calls("orderquery", "ELSE-0001").await.len(), 1, "WeChat is asked first");
        let refund_no = refund["refund_no"].as_str().unwrap();
        service.goes_through(refund_no).await;
        let (_, again) = service.refund_payment(transaction_id, json!({"all": true, "reason": "not ours"})).await;
        assert_eq!((&again["refund_no"], &again["state"]), (&refund["refund_no"], &json!("succeeded")), "{again}");
        let (status, problem) = service.refund_payment(transaction_id, json!({"refund_no": "r2", "all": true})).await;
        assert_eq!((status, &problem["left_fen"]), (409, &json!(0)), "{problem}");
        let (class, order_no, entries) = service.payment(transaction_id).await;
        assert_eq!((&*class, order_no), ("returned", Value::Null));
        assert_eq!(entries, ["payment >unmatched", "returned unmatched>returned"]);
        let (_, feed) = service.get("/v1/events?types=wxpay.refund.succeeded.v1&wait=30").await;
        let event = &feed["events"][0];
        assert_eq!((event.get("subject"), &event["data"]["order_no"]), (None, &Value::Null), "{event}");
        assert_eq!(event["data"]["transaction_id"], json!(transaction_id), "{event}");
        let audited = format!(
            "SELECT COUNT(*) FROM audit WHERE action = 'payment.give_back' AND result = 'done' AND order_no IS NULL
               AND reason = 'not ours' AND remote_addr <> '' AND transaction_id = '{transaction_id}'"
        );
        assert_eq!(service.number(&audited).await, 1);
        let (_, listed) = service.get("/v1/refunds?state=succeeded").await;
        assert_eq!(listed["refunds"][0]["refund_no"], json!(refund_no), "{listed}");
        service.finish().await;
    }

    async fn a_payment_of_an_order_is_refunded_as_by_its_order(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("BYPAY-01").await;
        let transaction_id = service.stored("BYPAY-01").await.order.paid_by.unwrap().transaction_id;
        let body = json!({"refund_no": "BYPAY-r1", "amount_fen": 30, "transaction_id": transaction_id});
        let (status, first) = service.refund_payment(transaction_id.as_str(), body.clone()).await;
        assert!([200, 202].contains(&status) && first["order_no"] == json!("BYPAY-01"), "{first}");
        let (status, same) = service.post("/v1/orders/BYPAY-01/refunds", &body).await;
        assert!([200, 202].contains(&status) && same["refund_no"] == first["refund_no"], "{same}");
        let less = json!({"refund_no": "BYPAY-r1", "amount_fen": 30});
        let (_, same) = service.refund_payment(transaction_id.as_str(), less).await;
        assert_eq!(same["refund_no"], first["refund_no"], "{same}");
        assert_eq!(service.wechat_refunds("BYPAY-01").await.len(), 1);
        let asked = service.wechat_calls("orderquery", "BYPAY-01").await.len();
        for (body, status, code) in [
            (json!({"refund_no": "BYPAY-r1", "amount_fen": 31}), 409, "refund_differs"),
            (json!({"refund_no": "x", "amount_fen": 101}), 409, "refund_exceeds"),
            (json!({"refund_no": "x", "all": true, "transaction_id": "4200000000000000000000000001"}), 400, "invalid"),
            (json!({}), 400, "invalid"),
            (json!({"amount_fen": 10}), 400, "invalid"),
        ] {
            let (answered, problem) = service.refund_payment(transaction_id.as_str(), body.clone()).await;
            assert_eq!((answered, &problem["code"]), (status, &json!(code)), "{body}: {problem}");
        }
        let (status, problem) = service.refund_payment("4200000000000000000000000001", json!({"all": true})).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{problem}");
        assert_eq!(service.wechat_calls("orderquery", "BYPAY-01").await.len(), asked, "an order's payment is known");
        service.goes_through("BYPAY-r1").await;
        service.finish().await;
    }

    async fn a_key_names_one_refund_of_a_payment(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let transaction_id = service.unmatched("ELSE-0002", json!({})).await;
        let with_key = |body: Value| {
            let url = format!("{}/v1/payments/{transaction_id}/refunds", service.base);
            let request = service.http.post(url).bearer_auth(API_KEY).header("idempotency-key", "k1");
            answer(request.header("content-type", "application/json").body(body.to_string()))
        };
        let (status, first) = with_key(json!({"amount_fen": 10})).await.unwrap();
        assert!([200, 202].contains(&status), "{first}");
        let (_, again) = with_key(json!({"amount_fen": 10})).await.unwrap();
        assert_eq!(again["refund_no"], first["refund_no"], "{again}");
        let (status, problem) = with_key(json!({"amount_fen": 11})).await.unwrap();
        assert_eq!((status, &problem["code"]), (409, &json!("refund_differs")), "{problem}");
        let (status, problem) = with_key(json!({"refund_no": "own", "amount_fen": 10})).await.unwrap();
        assert_eq!((status, &problem["code"]), (422, &json!("key_reused")), "{problem}");
        service.goes_through(first["refund_no"].as_str().unwrap()).await;
        assert_eq!(service.wechat_refunds("ELSE-0002").await.len(), 1);
        service.finish().await;
    }

    async fn nothing_goes_back_that_wechat_does_not_confirm(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.leave_books_open("a payment of another amount than WeChat's");
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        let paid = service.sold_elsewhere("ELSE-0003", json!({})).await;
        let transaction_id = service.reported(&paid, 1).await;
        for body in [json!({"all": true}), json!({"refund_no": "r", "amount_fen": 1})] {
            let (status, problem) = service.refund_payment(&transaction_id, body).await;
            assert_eq!((status, &problem["code"]), (409, &json!("payment_differs")), "{problem}");
        }
        let known = service.unmatched("ELSE-0004", json!({})).await;
        service.faults(json!([{"on": "orderquery", "kind": "system_error"}])).await;
        let (status, problem) = service.refund_payment(&known, json!({"all": true})).await;
        assert_eq!((status, &problem["code"], &problem["retryable"]), (503, &json!("unavailable"), &json!(true)));
        assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 0);
        assert_eq!(service.wechat_calls("refund", "ELSE-0003").await.len(), 0);
        service.finish().await;
    }

    async fn an_order_that_appears_while_its_money_goes_back_is_not_paid_by_it(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let transaction_id = service.unmatched("ELSE-0005", json!({})).await;
        let (status, refund) = service.refund_payment(&transaction_id, json!({"all": true})).await;
        assert!([200, 202].contains(&status), "{refund}");
        service.appears("ELSE-0005").await;
        let (_, order) = service.get("/v1/orders/ELSE-0005").await;
        assert_eq!((&order["credited"], &order["flags"]), (&json!(false), &json!(["paid_before_order"])), "{order}");
        assert_eq!(order["payments"][0]["class"], json!("held"), "{order}");
        let (_, again) = service.refund_payment(&transaction_id, json!({"all": true})).await;
        assert_eq!(again["refund_no"], refund["refund_no"], "the same refund, though the payment has an order now");
        let accept = json!({"transaction_id": transaction_id, "reason": "x"});
        let (status, problem) = service.post("/v1/orders/ELSE-0005/accept", &accept).await;
        assert_eq!((status, &problem["code"]), (409, &json!("payment_given_back")), "{problem}");
        service.goes_through(refund["refund_no"].as_str().unwrap()).await;
        let (class, order_no, entries) = service.payment(&transaction_id).await;
        assert_eq!((&*class, order_no), ("returned", json!("ELSE-0005")));
        assert_eq!(entries, ["payment >unmatched", "matched unmatched>held", "returned held>returned"]);
        service.skip_to(service.stored("ELSE-0005").await.order.expires_at);
        service.until_state("ELSE-0005", "closed").await;
        assert_eq!(service.number("SELECT COUNT(*) FROM orders WHERE paid_told").await, 0);
        service.finish().await;
    }

    async fn an_order_that_appears_after_its_money_went_back_ends_without_it(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let transaction_id = service.unmatched("ELSE-0006", json!({})).await;
        let (_, refund) = service.refund_payment(&transaction_id, json!({"all": true})).await;
        service.goes_through(refund["refund_no"].as_str().unwrap()).await;
        service.appears("ELSE-0006").await;
        let (class, order_no, entries) = service.payment(&transaction_id).await;
        assert_eq!((&*class, order_no), ("returned", json!("ELSE-0006")));
        assert_eq!(entries, ["payment >unmatched", "returned unmatched>returned", "matched returned>returned"]);
        service.skip_to(service.stored("ELSE-0006").await.order.expires_at);
        service.until_state("ELSE-0006", "closed").await;
        assert_eq!(service.events("ELSE-0006").await, ["order.closed"]);
        service.finish().await;
    }

    async fn of_an_order_that_appears_and_a_refund_at_once_one_has_the_money(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let mut outcomes = BTreeMap::new();
        for n in 0..8 {
            let number = format!("RACE-{n:04}");
            let transaction_id = service.unmatched(&number, json!({})).await;
            let body = json!({"refund_no": format!("{number}-r"), "all": true});
            let giving_back = async {
                // The more of the placing is over, the more often the order is first.
                service.until_calls("unifiedorder", &number, n % 3).await;
                service.refund_payment(&transaction_id, body).await
            };
            let ((status, refund), ()) = tokio::join!(giving_back, service.appears(&number));
            let credited = service.stored(&number).await.order.paid_reported;
            // An order's own money may go back: then the refund is the order's.
            let of_no_order = status < 300 && refund["order_no"].is_null();
            assert_ne!(credited, of_no_order, "{refund}");
            assert!(status < 300 || refund["code"] == "payment_matched", "{refund}");
            if status < 300 {
                service.goes_through(&format!("{number}-r")).await;
            }
            *outcomes.entry((credited, status)).or_insert(0) += 1;
        }
        let _ = writeln!(std::io::stderr(), "credited, status: {outcomes:?}");
        service.finish().await;
    }

    async fn money_in_another_currency_goes_back_in_it(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.expect_dead_letters(&["currency_differs"]);
        service.place("CURR-001").await;
        let paid = service.wechat_control("pay", json!({"out_trade_no": "CURR-001", "fee_type": "USD"})).await;
        let of_order = paid["transaction_id"].as_str().unwrap().to_owned();
        service.until("the mark", "CURR-001", |s| s.order.flags.amount_mismatch).await;
        service.skip(2);
        service.until("the payment", "CURR-001", |s| !s.order.payments.is_empty()).await;
        let of_none = service.unmatched("ELSE-0007", json!({"fee_type": "HKD"})).await;
        for (transaction_id, refund_no, currency) in [(&of_order, "CURR-r1", "USD"), (&of_none, "CURR-r2", "HKD")] {
            let body = json!({"refund_no": refund_no, "all": true});
            let (status, refund) = service.refund_payment(transaction_id, body).await;
            assert!([200, 202].contains(&status), "{refund}");
            assert_eq!(refund["currency"], json!(currency), "{refund}");
            service.goes_through(refund_no).await;
            assert_eq!(service.payment(transaction_id).await.0, "returned");
            let entered = format!("SELECT COUNT(*) FROM refund_ledger WHERE currency = '{currency}'");
            assert_eq!(service.number(&entered).await, 1, "{currency}");
        }
        let (_, feed) = service.get("/v1/events?types=wxpay.refund.succeeded.v1&wait=30").await;
        assert_eq!(feed["events"][0]["data"]["currency"], json!("USD"), "{feed}");
        let (_, order) = service.get("/v1/orders/CURR-001").await;
        let refunded = (&order["refunded_fen"], &order["payments"][0]["refunded_fen"]);
        assert_eq!(refunded, (&json!(0), &json!(100)), "{order}");
        service.finish().await;
    }

    async fn whatever_happens_to_money_of_no_order_the_sums_are_wechats(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let seed = std::env::var("WXPAY_TEST_SEED").map_or(11, |seed| seed.parse().unwrap());
        let _ = writeln!(std::io::stderr(), "WXPAY_TEST_SEED={seed}");
        let mut dice = Dice(seed);
        for n in 0..size(10, 200) {
            let number = format!("SUMS{n:06}");
            let currency = ["CNY", "CNY", "USD"][usize::try_from(dice.below(3)).unwrap()];
            let total_fee = if dice.percent(50) { 100 } else { 1 + dice.below(100) };
            let how = json!({"total_fee": total_fee, "fee_type": currency});
            let transaction_id = service.unmatched(&number, how).await;
            for step in 0..1 + dice.below(3) {
                if dice.percent(20) {
                    if service.number(&format!("SELECT COUNT(*) FROM orders WHERE order_no = '{number}'")).await == 0 {
                        service.appears(&number).await;
                    }
                    continue;
                }
                let refund_no = format!("{number}-{step}");
                let body = match dice.below(3) {
                    0 => json!({"refund_no": refund_no, "all": true}),
                    _ => json!({"refund_no": refund_no, "amount_fen": 1 + dice.below(60)}),
                };
                let (status, answer) = service.refund_payment(&transaction_id, body).await;
                if status < 300 {
                    service.goes_through(&refund_no).await;
                } else {
                    assert_eq!(answer["code"], json!("refund_exceeds"), "{answer}");
                }
            }
        }
        service.sums_are_wechats().await;
        service.skip(3 * 3600);
        let open = "SELECT COUNT(*) FROM orders WHERE state NOT IN ('paid', 'closed')";
        service.until_number("the end of every order", open, |n| n == 0).await;
        service.sums_are_wechats().await;
        service.finish().await;
    }
}

impl InProcess {
    /// By currency: all classes minus the refunds are what the account holds; returned money went back whole.
    async fn sums_are_wechats(&self) {
        let books = self.wechat_books("").await;
        let mut theirs: BTreeMap<String, i64> = BTreeMap::new();
        let mut currencies = BTreeMap::new();
        for payment in books["payments"].as_array().unwrap() {
            let currency = payment["fee_type"].as_str().unwrap().to_owned();
            *theirs.entry(currency.clone()).or_default() += payment["total_fee"].as_i64().unwrap();
            currencies.insert(payment["transaction_id"].as_str().unwrap().to_owned(), currency);
        }
        for refund in books["refunds"].as_array().unwrap().iter().filter(|r| r["status"] == "SUCCESS") {
            let currency = &currencies[refund["transaction_id"].as_str().unwrap()];
            *theirs.get_mut(currency).unwrap() -= refund["refund_fee"].as_i64().unwrap();
        }
        let mut ours: BTreeMap<String, i64> = BTreeMap::new();
        for (_, currency, sum) in self.store.payment_sums(&main()).await.unwrap() {
            *ours.entry(currency).or_default() += sum.as_i64();
        }
        for (currency, sum) in &mut ours {
            let went_back = format!(
                "SELECT COALESCE(CAST(SUM(amount_fen) AS BIGINT), 0) FROM refund_ledger WHERE currency = '{currency}'"
            );
            *sum -= self.number(&went_back).await;
        }
        assert_eq!(ours, theirs);
        let returned = "SELECT COUNT(*) FROM payments p JOIN refund_totals t ON t.merchant = p.merchant
                          AND t.transaction_id = p.transaction_id
                        WHERE (p.class = 'returned') <> (p.class <> 'credited' AND t.refunded_fen = p.amount_fen)";
        assert_eq!(self.number(returned).await, 0);
    }
}

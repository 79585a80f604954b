//! Refunds made elsewhere of which no notification tells: learnt by asking, before anything is said of ours.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wxpay_worker::secret::V2Key;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::seal;
use wxpay_worker::wechat::v2::xml;

use crate::harness::service::{APP_ID, InProcess, KEY, MCH_ID, TestService};
use crate::harness::within_timeout;
use crate::settling::on_both;

/// WeChat is asked about an order once in this time at most.
const BETWEEN_REFRESHES: Duration = Duration::from_secs(2);

impl InProcess {
    /// A person refunds in the merchant platform and WeChat sends no notification of it; the payer has the money.
    pub async fn refunded_silently(&self, out_trade_no: &str, refund_fee: i64) -> String {
        let number = self.silent_console(out_trade_no, refund_fee).await;
        self.ends(&number, "SUCCESS").await;
        number
    }

    /// Money of a payment goes back in the merchant platform, of which nothing is reported.
    pub async fn silent_console(&self, out_trade_no: &str, refund_fee: i64) -> String {
        let body = json!({"mch_id": MCH_ID, "out_trade_no": out_trade_no, "refund_fee": refund_fee, "notify": false});
        self.wechat_control("refunds/console", body).await["out_refund_no"].as_str().unwrap().to_owned()
    }

    async fn refreshed(&self, order_no: &str) -> Value {
        let (status, order) = self.get(&format!("/v1/orders/{order_no}?refresh=1")).await;
        assert_eq!(status, 200, "{order}");
        order
    }

    /// Which events about refunds an order had, each with its refund.
    async fn refund_events(&self, order_no: &str) -> Vec<String> {
        self.until_idle().await;
        let (_, feed) = self.get("/v1/events?limit=1000").await;
        let ours = |e: &&Value| e["data"]["order_no"] == order_no && e["data"]["refund_no"].is_string();
        let text = |e: &Value| format!("{} {}", e["type"].as_str().unwrap(), e["data"]["refund_no"].as_str().unwrap());
        feed["events"].as_array().unwrap().iter().filter(ours).map(text).collect()
    }
}

/// A signed refusal by a code that is in no list.
fn unlisted_refusal() -> String {
    let said = [
        ("return_code", "SUCCESS"),
        ("appid", APP_ID),
        ("mch_id", MCH_ID),
        ("nonce_str", "n"),
        ("result_code", "FAIL"),
        ("err_code", "REFUND_ALL_DONE"),
        ("err_code_des", "已全额退款"),
    ];
    let fields = said.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    xml::write(&seal(fields, &V2Key::parse(KEY).unwrap(), SignType::Md5))
}

fn event(name: &str, refund_no: &str) -> String {
    format!("wxpay.refund.{name}.v1 {refund_no}")
}

on_both! {
    async fn a_refresh_of_a_paid_order_learns_its_refunds(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("E100001").await;
        let asked = service.refreshed_again("E100001").await;
        assert_eq!(asked["refunds"], json!([]), "{asked}");
        let (_, unasked) = service.get("/v1/orders/E100001").await;
        assert_eq!(unasked.get("refreshed"), None, "{unasked}");
        let mut numbers = Vec::new();
        // More than WeChat lists at once.
        for fee in 1..=9 {
            numbers.push(service.refunded_silently("E100001", fee).await);
        }
        for fee in 1..=3 {
            numbers.push(service.silent_console("E100001", fee).await);
        }
        let order = service.refreshed_again("E100001").await;
        assert_eq!((&order["refreshed"], &order["refunded_fen"]), (&json!(true), &json!(45)), "{order}");
        let listed = order["refunds"].as_array().unwrap();
        assert_eq!(listed.len(), 12);
        for (n, refund) in listed.iter().enumerate() {
            let state = if n < 9 { "succeeded" } else { "processing" };
            assert_eq!((&refund["state"], &refund["origin"]), (&json!(state), &json!("console")), "{refund}");
        }
        // Within two seconds WeChat is not asked again; an answer to the question before may come late.
        within_timeout("two refreshes within two seconds", async {
            loop {
                let begun = Instant::now();
                service.refreshed_again("E100001").await;
                service.until_idle().await;
                let asked = service.wechat_calls("orderquery", "E100001").await.len();
                service.refreshed("E100001").await;
                service.until_idle().await;
                if service.wechat_calls("orderquery", "E100001").await.len() == asked {
                    return;
                }
                // On a busy machine they are further apart.
                assert!(begun.elapsed() >= BETWEEN_REFRESHES, "it was asked again at once");
            }
        })
        .await;
        assert_eq!(service.number("SELECT COUNT(*) FROM refund_ledger").await, 9);
        for number in &numbers[9..] {
            service.ends(number, "SUCCESS").await;
            service.poll_until(number, "succeeded").await;
        }
        let (_, order) = service.get("/v1/orders/E100001").await;
        assert_eq!(order["refunded_fen"], json!(51), "{order}");
        let mut expected: Vec<String> =
            numbers.iter().flat_map(|no| ["requested", "succeeded"].map(|name| event(name, no))).collect();
        let mut events = service.refund_events("E100001").await;
        expected.sort_unstable();
        events.sort_unstable();
        assert_eq!(events, expected, "each once");
        service.finish().await;
    }

    async fn a_refresh_that_wechat_does_not_answer_says_so(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("E200001").await;
        service.refunded_silently("E200001", 60).await;
        service.faults(json!([{"on": "refundquery", "kind": "system_error"}])).await;
        let order = service.refreshed("E200001").await;
        assert_eq!((&order["refreshed"], &order["refunded_fen"]), (&json!(false), &json!(0)), "{order}");
        service.clear_faults().await;
        let order = service.refreshed_again("E200001").await;
        assert_eq!(order["refunded_fen"], json!(60), "{order}");
        service.finish().await;
    }

    async fn a_refund_for_which_others_left_nothing_fails_and_says_what_wechat_has_refunded(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let refuse = |code: &str| json!({"on": "refund", "kind": "refuse", "err_code": code, "times": 1});
        let unlisted = json!({"on": "refund", "kind": "raw", "body": unlisted_refusal(), "times": 1});
        // In WeChat's usual words, in others that are signed, and in such as are not.
        let faults = [None, Some(refuse("ERROR")), Some(refuse("FAIL")), Some(unlisted)];
        for (n, fault) in faults.into_iter().enumerate() {
            let (order_no, ours) = (format!("E30000{n}"), format!("ours-{n}"));
            service.paid(&order_no).await;
            let theirs = service.refunded_silently(&order_no, 100).await;
            let is_usual = fault.is_none();
            match fault {
                Some(fault) => service.faults(json!([fault])).await,
                None => service.skip(61),
            }
            let body = json!({"refund_no": ours, "amount_fen": 30});
            let (status, problem) = service.give_back(&order_no, body.clone()).await;
            assert_eq!((status, &problem["code"]), (422, &json!("refund_failed")), "{problem}");
            assert_eq!(problem["payment_refunded_fen"], json!(100), "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains("refunded 100 fen"), "{problem}");
            if is_usual {
                assert_eq!(problem["wechat"]["err_code_des"], "订单已全额退款", "{problem}");
            }
            service.until_refunded(&theirs, "succeeded").await;
            let (_, refund) = service.get(&format!("/v1/refunds/{ours}")).await;
            let said = ["state", "payment_refunded_fen"].map(|name| &refund[name]);
            assert_eq!(said, [&json!("failed"), &json!(100)], "{refund}");
            assert!(refund["message"].as_str().unwrap().contains("refunded 100 fen"), "{refund}");
            // A repeat is answered the same, and the order knows.
            assert_eq!(service.give_back(&order_no, body).await.1["payment_refunded_fen"], json!(100));
            let (_, order) = service.get(&format!("/v1/orders/{order_no}")).await;
            assert_eq!(order["refunded_fen"], json!(100), "{order}");
            let mut events = service.refund_events(&order_no).await;
            events.sort_unstable();
            let mut expected = vec![
                event("requested", &ours), event("failed", &ours), event("requested", &theirs),
                event("succeeded", &theirs),
            ];
            expected.sort_unstable();
            assert_eq!(events, expected);
        }
        service.finish().await;
    }

    async fn a_refund_for_which_others_left_too_little_fails_and_the_rest_can_go_back(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("E400001").await;
        service.refunded_silently("E400001", 60).await;
        service.pass(61).await;
        let (status, problem) = service.give_back("E400001", json!({"refund_no": "ours", "amount_fen": 50})).await;
        let said = ["code", "payment_refunded_fen"].map(|name| &problem[name]);
        assert_eq!((status, said), (422, [&json!("refund_failed"), &json!(60)]), "{problem}");
        service.until_number("theirs", "SELECT COUNT(*) FROM refund_ledger", |n| n == 1).await;
        let (status, problem) = service.give_back("E400001", json!({"refund_no": "more", "amount_fen": 41})).await;
        assert_eq!((status, &problem["left_fen"]), (409, &json!(40)), "{problem}");
        service.a_minute_later().await;
        service.refunding("E400001", "rest", 40).await;
        service.ends("rest", "SUCCESS").await;
        service.until_refunded("rest", "succeeded").await;
        assert_eq!(service.number("SELECT refunded_fen FROM refund_totals").await, 100);
        service.finish().await;
    }

    async fn two_refunds_of_ours_give_way_to_one_that_took_everything(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("E500001").await;
        // The second waits for the minute after the first, which never arrives.
        service.faults(json!([{"on": "refund", "kind": "drop", "times": 2}])).await;
        for ours in ["first", "second"] {
            let body = json!({"refund_no": ours, "amount_fen": 50});
            let path = format!("{}/v1/orders/E500001/refunds", service.base);
            let request = service.http.post(path).bearer_auth(crate::harness::service::API_KEY);
            let request = request.header("content-type", "application/json").header("prefer", "wait=0");
            assert_eq!(request.body(body.to_string()).send().await.unwrap().status().as_u16(), 202);
        }
        service.until_refunded("first", "unknown").await;
        let theirs = service.refunded_silently("E500001", 100).await;
        for _ in 0..40 {
            if service.number("SELECT COUNT(*) FROM refund_ledger").await == 1 {
                break;
            }
            service.pass(70).await;
        }
        for ours in ["first", "second"] {
            let stored = service.until_refunded(ours, "failed").await;
            assert_eq!(stored.elsewhere.map(|sum| sum.as_i64()), Some(100), "{ours}");
        }
        service.until_refunded(&theirs, "succeeded").await;
        assert_eq!(service.get("/v1/orders/E500001").await.1["refunded_fen"], json!(100));
        service.finish().await;
    }

    async fn held_money_that_went_back_elsewhere_is_returned_by_a_refresh(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.place("E600001").await;
        service.pass(301).await;
        let (_, order) = service.get("/v1/orders/E600001/pay-params?trade_type=NATIVE").await;
        let second = order["out_trade_no"].as_str().unwrap().to_owned();
        service.pay(&second).await;
        service.until_state("E600001", "paid").await;
        service.wechat_control("pay", json!({"out_trade_no": "E600001", "late": true})).await;
        service.until("the second payment", "E600001", |s| s.order.flags.paid_twice).await;
        let (counts, held) = ([second, "E600001".to_owned()], 100);
        // Both payments are asked about: a part of the one that counts, all of the other.
        service.refunded_silently(&counts[0], 7).await;
        service.refunded_silently(&counts[1], held).await;
        let order = service.refreshed_again("E600001").await;
        assert_eq!(order["refunded_fen"], json!(107), "{order}");
        let classes: Vec<_> = order["payments"].as_array().unwrap().iter().map(|p| p["class"].clone()).collect();
        assert_eq!(classes, [json!("credited"), json!("returned")], "{order}");
        let returned = "SELECT COUNT(*) FROM ledger WHERE entry = 'returned' AND to_class = 'returned'";
        assert_eq!(service.number(returned).await, 1);
        service.finish().await;
    }

    async fn a_notification_of_one_unknown_refund_brings_the_payments_others_to_light(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.tells_of_console_refunds().await;
        service.paid("E700001").await;
        let mut numbers = vec![service.refunded_silently("E700001", 10).await];
        numbers.push(service.refunded_silently("E700001", 20).await);
        let notified = service.console("E700001", 30).await;
        service.ends(&notified, "SUCCESS").await;
        numbers.push(notified);
        service.until_number("all three", "SELECT COUNT(*) FROM refund_ledger", |n| n == 3).await;
        for number in &numbers {
            service.until_refunded(number, "succeeded").await;
        }
        assert_eq!(service.get("/v1/orders/E700001").await.1["refunded_fen"], json!(60));
        service.finish().await;
    }
}

//! Random histories of money that fits its order or does not, is accepted, given back here and elsewhere, with requests
//! repeated under their keys: the ledger's sum is what WeChat holds.

use std::io::Write as _;

use serde_json::{Value, json};
use wxpay_worker::ids::MerchantKey;

use super::held::{accept, paid_as, until_held, yesterday};
use super::on_both;
use crate::harness::service::{API_KEY, InProcess, MCH_ID, TestService, answer};
use crate::harness::{size, within_timeout};
use crate::order::dice::Dice;

const NOTIFIED: &str = "SELECT COUNT(*) FROM notifications
                        WHERE kind = 'refund' AND verdict IN ('settled', 'duplicate')";

impl InProcess {
    /// As [`InProcess::post`], under an idempotency key.
    async fn post_keyed(&self, path: &str, key: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(API_KEY);
        let request = request.header("content-type", "application/json").header("idempotency-key", key);
        answer(request.body(body.to_string())).await.unwrap()
    }

    /// A person may refund in the merchant platform, more than is left or not, with a notification or without.
    async fn refunds_elsewhere(&self, order_no: &str, dice: &mut Dice) {
        let notify = dice.percent(50);
        let body = json!({
            "mch_id": MCH_ID, "out_trade_no": order_no, "refund_fee": 1 + dice.below(60), "notify": notify,
        });
        let made = self.try_post(&self.wechat_url, "/_sandbox/refunds/console", &body).await;
        let (status, made) = made.unwrap();
        if status >= 300 {
            return;
        }
        let before = self.number(NOTIFIED).await;
        self.ends(made["out_refund_no"].as_str().unwrap(), "SUCCESS").await;
        if notify {
            self.until_number("the notification's end", NOTIFIED, |n| n > before).await;
        }
    }

    /// Takes a refund of ours to its end, whatever that is.
    async fn comes_to_its_end(&self, refund_no: &str) {
        for polls in 0..60 {
            assert!(polls < 59, "{:?}", self.refund(refund_no).await);
            let before = self.refund(refund_no).await;
            match before.refund.state.as_str() {
                "succeeded" | "failed" => return,
                "processing" => {
                    self.ends(refund_no, "SUCCESS").await;
                    self.until_refunded(refund_no, "succeeded").await;
                }
                _ => {
                    self.to_next_poll(refund_no).await;
                    let polled = self.until_polled(&before);
                    let _ = tokio::time::timeout(std::time::Duration::from_secs(3), polled).await;
                }
            }
        }
    }

    /// Gives back a part under a key, repeats it, and uses the key for something else.
    async fn gives_back_keyed(&self, order_no: &str, transaction_id: &str, dice: &mut Dice) {
        let path = format!("/v1/orders/{order_no}/refunds");
        let key = format!("{order_no}-{}", dice.below(3));
        let body = json!({"amount_fen": 1 + dice.below(60), "transaction_id": transaction_id});
        let (status, first) = self.post_keyed(&path, &key, &body).await;
        let Some(refund_no) = first["refund_no"].as_str().filter(|_| status < 300) else { return };
        let (status, again) = self.post_keyed(&path, &key, &body).await;
        assert_eq!((status < 300 || status == 422, &again["refund_no"]), (true, &first["refund_no"]), "{again}");
        let other = json!({"amount_fen": 61, "transaction_id": transaction_id});
        let (status, problem) = self.post_keyed(&path, &key, &other).await;
        assert!((400..500).contains(&status), "the key names another refund: {problem}");
        self.comes_to_its_end(refund_no).await;
    }

    async fn gives_back(&self, order_no: &str, transaction_id: &str, dice: &mut Dice) {
        let refund_no = format!("{order_no}-{}", dice.below(100));
        let body = json!({
            "refund_no": refund_no, "amount_fen": 1 + dice.below(60), "transaction_id": transaction_id,
        });
        let (status, _) = self.post(&format!("/v1/orders/{order_no}/refunds"), &body).await;
        if status < 300 {
            self.comes_to_its_end(&refund_no).await;
        }
    }

    /// What the ledger's classes come to, less the refunds, and what the simulator's account holds.
    async fn sums(&self) -> (i64, i64) {
        let books = self.wechat_books("").await;
        let sum = |rows: &str, field: &str, only: &dyn Fn(&Value) -> bool| -> i64 {
            books[rows].as_array().unwrap().iter().filter(|r| only(r)).map(|r| r[field].as_i64().unwrap()).sum()
        };
        let refunded = sum("refunds", "refund_fee", &|r| r["status"] == "SUCCESS");
        let theirs = sum("payments", "total_fee", &|_| true) - refunded;
        let merchant = MerchantKey::parse("main").unwrap();
        let classes: i64 = self.store.payment_sums(&merchant).await.unwrap().iter().map(|s| s.2.as_i64()).sum();
        let refunds = "SELECT COALESCE(CAST(SUM(amount_fen) AS BIGINT), 0) FROM refund_ledger";
        (classes - self.number(refunds).await, theirs)
    }
}

on_both! {
    async fn what_the_ledger_says_is_what_wechat_holds_whatever_happens(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.tells_of_console_refunds().await;
        let seed = std::env::var("WXPAY_TEST_SEED").map_or(7, |seed| seed.parse().unwrap());
        let _ = writeln!(std::io::stderr(), "WXPAY_TEST_SEED={seed}");
        let mut dice = Dice(seed);
        let mut mismatched = 0;
        let orders: Vec<String> = (0..size(12, 300)).map(|n| format!("H8{n:06}")).collect();
        for order_no in &orders {
            service.place(order_no).await;
            let how = match dice.below(5) {
                0 => json!({"paid_at": yesterday(&service)}),
                1 => json!({"total_fee": 1 + dice.below(99)}),
                2 => json!({"fee_type": "USD"}),
                _ => json!({}),
            };
            let fits = how == json!({});
            mismatched += usize::from(how.get("total_fee").is_some());
            if how.get("fee_type").is_some() {
                service.expect_dead_letters(&["currency_differs"]);
            }
            let transaction_id = paid_as(&service, order_no, how).await;
            if fits {
                service.until_state(order_no, "paid").await;
            } else {
                until_held(&service, order_no).await;
            }
            for _ in 0..dice.below(4) {
                match dice.below(5) {
                    0 => {
                        accept(&service, order_no, &transaction_id).await;
                    }
                    1 => service.gives_back(order_no, &transaction_id, &mut dice).await,
                    2 => service.gives_back_keyed(order_no, &transaction_id, &mut dice).await,
                    _ => service.refunds_elsewhere(order_no, &mut dice).await,
                }
            }
        }
        service.expect_dead_letters(&vec!["amount_differs"; mismatched]);
        for order_no in &orders {
            within_timeout("WeChat's answer", async {
                // The merchant's budget of questions is small.
                while service.get(&format!("/v1/orders/{order_no}?refresh=1")).await.1["refreshed"] != json!(true) {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            })
            .await;
        }
        crate::books::agree(&service).await;
        let (ours, theirs) = service.sums().await;
        assert_eq!(ours, theirs);
        let exceeded = "SELECT COUNT(*) FROM refund_totals
                        WHERE refunded_fen > reserved_fen OR reserved_fen > paid_fen";
        assert_eq!(service.number(exceeded).await, 0);
        let kept = "SELECT COUNT(*) FROM payments p JOIN refund_totals t ON t.transaction_id = p.transaction_id
                    WHERE p.class = 'held' AND t.refunded_fen = t.paid_fen";
        assert_eq!(service.number(kept).await, 0, "all of it went back");
        service.finish().await;
    }
}

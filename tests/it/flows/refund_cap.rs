//! `refund_cap_fen_per_day`: what one client may ask to be refunded on a day.

use serde_json::{Value, json};
use wxpay_worker::secret::sha256_hex;

use crate::harness::service::{InProcess, TestService, answer};
use crate::settling::on_both;

const KEY: &str = "the-key-of-the-refund-desk";
const NEW_KEY: &str = "the-next-key-of-the-refund-desk";

/// 150 fen a day, under two keys.
fn desk() -> String {
    let [old, new] = [KEY, NEW_KEY].map(|key| sha256_hex(key.as_bytes()));
    format!(
        r#"
        [[api_keys]]
        name = "desk"
        hashes = [{{ hash = "sha256:{old}" }}, {{ hash = "sha256:{new}" }}]
        scopes = ["orders", "refunds"]
        merchants = "all"
        refund_cap_fen_per_day = 150
        "#
    )
}

impl InProcess {
    async fn desk_refunds(&self, key: &str, order_no: &str, refund_no: &str, fen: i64) -> (u16, Value) {
        let request = self.http.post(format!("{}/v1/orders/{order_no}/refunds", self.base)).bearer_auth(key);
        let request = request.header("content-type", "application/json");
        answer(request.body(json!({"refund_no": refund_no, "amount_fen": fen}).to_string())).await.unwrap()
    }

    async fn all_succeed(&self, refund_nos: &[&str]) {
        for refund_no in refund_nos {
            self.poll_until(refund_no, "processing").await;
            self.ends(refund_no, "SUCCESS").await;
            self.until_refunded(refund_no, "succeeded").await;
        }
    }
}

on_both! {
    async fn more_than_the_cap_of_the_day_is_refused_and_leaves_nothing(db: TestDb) {
        let service = TestService::new().on(db).refunds().config(&desk()).in_process().await;
        for order_no in ["CAP00001", "CAP00002"] {
            service.paid(order_no).await;
        }
        let (status, refund) = service.desk_refunds(KEY, "CAP00001", "c1", 100).await;
        assert!([200, 202].contains(&status), "{refund}");
        // Another key of the same client has no other cap.
        let (status, problem) = service.desk_refunds(NEW_KEY, "CAP00002", "c2", 51).await;
        assert_eq!((status, &problem["code"], &problem["left_fen"]), (409, &json!("refund_cap"), &json!(50)));
        assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 1);
        let reserved = "SELECT COALESCE(CAST(SUM(reserved_fen) AS BIGINT), 0) FROM refund_totals";
        assert_eq!(service.number(reserved).await, 100, "nothing is reserved of the second order");
        // A repeat is known and not counted; what fits is taken.
        let (status, again) = service.desk_refunds(KEY, "CAP00001", "c1", 100).await;
        assert!([200, 202].contains(&status) && again["refund_no"] == "c1", "{again}");
        let (status, refund) = service.desk_refunds(NEW_KEY, "CAP00002", "c2", 50).await;
        assert!([200, 202].contains(&status), "{refund}");
        let (status, problem) = service.desk_refunds(KEY, "CAP00002", "c3", 1).await;
        assert_eq!((status, &problem["left_fen"]), (409, &json!(0)), "{problem}");
        service.all_succeed(&["c1", "c2"]).await;
        // A key without a cap.
        service.a_minute_later().await;
        service.refunding("CAP00002", "c4", 20).await;
        service.all_succeed(&["c4"]).await;
        service.skip_to(service.clock.now().next_beijing_midnight());
        let (status, refund) = service.desk_refunds(KEY, "CAP00002", "c3", 1).await;
        assert!([200, 202].contains(&status), "the next day: {refund}");
        service.all_succeed(&["c3"]).await;
        assert_eq!(service.number("SELECT COUNT(*) FROM refund_caps").await, 2);
        service.finish().await;
    }

    async fn what_is_asked_for_at_once_is_counted_together(db: TestDb) {
        let service = TestService::new().on(db).refunds().config(&desk()).in_process().await;
        let numbers: Vec<(String, String)> = (0..8).map(|n| (format!("CAP1000{n}"), format!("d{n}"))).collect();
        for (order_no, _) in &numbers {
            service.paid(order_no).await;
        }
        let asked = numbers.iter().map(|(order_no, refund_no)| service.desk_refunds(KEY, order_no, refund_no, 30));
        let answers = futures_util::future::join_all(asked).await;
        let taken = answers.iter().filter(|(status, _)| *status < 300).count();
        let refused = answers.iter().filter(|(status, problem)| *status == 409 && problem["code"] == "refund_cap");
        assert_eq!((taken, refused.count()), (5, 3), "{answers:?}");
        assert_eq!(service.number("SELECT requested_fen FROM refund_caps").await, 150);
        for (n, (status, _)) in answers.iter().enumerate() {
            if *status < 300 {
                service.all_succeed(&[&numbers[n].1]).await;
            }
        }
        service.finish().await;
    }
}

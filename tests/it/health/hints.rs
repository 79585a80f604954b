//! Notifications that do not verify: a hint, which forgers can begin once an hour at most.

use serde_json::{Value, json};

use crate::flows::notifications::signed;
use crate::harness::service::{InProcess, KEY, TestService};
use crate::settling::on_both;

const WRONG_KEY: &str = "00000000000000000000000000000000";
/// So many in a row begin a hint.
const IN_A_ROW: u32 = 5;

impl InProcess {
    async fn notified(&self, transaction_id: &str, key: &str, times: u32) {
        let about = [("out_trade_no", "N100001"), ("transaction_id", transaction_id)];
        for _ in 0..times {
            let request = self.http.post(format!("{}/notify/main/pay", self.base));
            let request = request.header("content-type", "text/xml").body(signed(&about, key));
            request.send().await.unwrap();
        }
    }
}

on_both! {
    async fn notifications_that_do_not_verify_in_a_row_are_a_hint_that_ends_with_one_that_does(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("N100001").await;
        // A genuine one between them: its order is known, and paid by it.
        service.notified("4200", WRONG_KEY, IN_A_ROW - 1).await;
        service.pay("N100001").await;
        let paid = service.until_state("N100001", "paid").await.order.paid_by.unwrap().transaction_id;
        let paid = paid.as_str();
        service.skip(1);
        service.notified(paid, WRONG_KEY, IN_A_ROW - 1).await;
        assert_eq!(service.health_events().await, Vec::<String>::new());

        service.notified(paid, WRONG_KEY, 3 * IN_A_ROW).await;
        service.until_health_events(&["degraded notifications"]).await;
        let row = service.degraded().await.remove(0);
        let about = (&row["what"], &row["reason"], &row["check"], &row["is_hint"], &row["wechat"]);
        let expected = [json!("notifications"), json!("unverified"), json!("merchants.v2_key_file"), json!(true)];
        assert_eq!(about, (&expected[0], &expected[1], &expected[2], &expected[3], &Value::Null), "{row}");
        let check = service.merchant_check().await;
        assert!(check["ok"] == true && check["reason"].as_str().unwrap().contains("forged"), "{check}");

        // Forgers begin no other one within the hour, however many verify between.
        let ended = ["degraded notifications", "recovered notifications"];
        service.notified(paid, KEY, 1).await;
        service.until_health_events(&ended).await;
        service.skip(1);
        service.notified(paid, WRONG_KEY, 4 * IN_A_ROW).await;
        service.notified(paid, KEY, 1).await;
        service.skip(3600);
        service.notified(paid, WRONG_KEY, IN_A_ROW).await;
        let again = [&ended[..], &ended[..1]].concat();
        service.until_health_events(&again).await;
        service.notified(paid, KEY, 1).await;
        service.until_health_events(&[&ended[..], &ended[..]].concat()).await;
        service.finish().await;
    }
}

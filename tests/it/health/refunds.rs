//! Refunds through a second app that WeChat refuses alone.

use serde_json::json;

use crate::harness::service::{MINI_APP_ID, TestService, signed_refusal_through};
use crate::settling::on_both;

on_both! {
    async fn refunds_through_a_second_app_that_is_refused_probe_once_a_minute(db: TestDb) {
        let service = TestService::new().on(db).mini_program().refunds().in_process().await;
        let orders = 8;
        let numbers: Vec<String> = (1..=orders).map(|n| format!("T4000{n:02}")).collect();
        for order_no in &numbers {
            service.ordered_by_mini(order_no).await;
            service.until_payable(order_no).await;
            service.pay(order_no).await;
            service.until_state(order_no, "paid").await;
        }
        // Queries pass, and with them the scheduler's probes of the app: it recovers again and again.
        let body = signed_refusal_through(MINI_APP_ID, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配");
        let refused = ["refund", "refundquery"].map(|on| json!({"on": on, "kind": "raw", "body": body}));
        service.faults(json!(refused)).await;
        let (begun, before) = (service.clock.now(), service.probes().await);
        for order_no in &numbers {
            service.skip(2);
            service.give_back_in_vain(order_no, json!({"refund_no": format!("{order_no}-R"), "all": true})).await;
        }
        let known = "SELECT COUNT(*) FROM merchant_health WHERE what = 'app:mini'";
        assert_eq!(service.number(known).await, 1, "it is the app's");
        assert_eq!(service.number("SELECT COUNT(*) FROM merchant_faults").await, 0, "and not the merchant's");
        service.pass_times(20, 6).await;
        // However often they are asked about.
        for order_no in &numbers {
            service.give_back_at_once(order_no, &json!({"refund_no": format!("{order_no}-R"), "all": true})).await;
            service.to_next_poll(&format!("{order_no}-R")).await;
        }
        service.until_idle().await;
        let minutes = usize::try_from(service.clock.now().since(begun).as_secs() / 60).unwrap();
        let probes = service.probes().await - before;
        assert!((1..=minutes + 3).contains(&probes), "{probes} in {minutes} minutes");
        service.clear_faults().await;
        for order_no in &numbers {
            let refund_no = format!("{order_no}-R");
            service.poll_until(&refund_no, "processing").await;
            service.ends(&refund_no, "SUCCESS").await;
            service.until_refunded(&refund_no, "succeeded").await;
        }
        service.finish().await;
    }
}

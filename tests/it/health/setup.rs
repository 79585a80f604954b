//! The whole merchant: one event each for beginning and end, and one probe a minute between.

use serde_json::{Value, json};

use crate::harness::service::{InProcess, KEY, OTHER_KEY, TestService};
use crate::settling::on_both;

const FAULTS: &str = "SELECT COUNT(*) FROM merchant_faults";

impl InProcess {
    pub async fn probes(&self) -> usize {
        self.wechat_calls("orderquery", "wxpay-probe").await.len()
    }

    async fn change_row(&self, sql: &'static str) {
        assert_eq!(self.store.db().execute("test", sql, []).await.unwrap(), 1, "{sql}");
    }
}

on_both! {
    async fn a_refused_merchant_is_probed_once_a_minute_and_recovers_with_the_first_order_that_passes(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        assert_eq!((service.degraded().await.len(), &service.merchant_check().await["ok"]), (0, &json!(true)));
        let all = ["unifiedorder", "orderquery", "closeorder"];
        let everywhere = all.map(|on| json!({"on": on, "kind": "foreign_address"}));
        service.faults(json!(everywhere)).await;
        for n in 1..=3 {
            service.place_unanswered(&format!("H10000{n}")).await;
        }
        service.until_health_events(&["degraded merchant"]).await;
        let row = service.degraded().await.remove(0);
        let about = (&row["merchant"], &row["what"], &row["reason"], &row["is_hint"]);
        assert_eq!(about, (&json!("main"), &json!("merchant"), &json!("ip"), &json!(false)), "{row}");
        assert_eq!(row["wechat"]["err_code_des"], "此IP地址不允许调用接口", "{row}");
        assert_eq!(row["check"], "the IP allow-list in WeChat's merchant platform", "{row}");
        let check = service.merchant_check().await;
        let reason = check["reason"].as_str().unwrap();
        assert!(check["ok"] == false && reason.contains("IP allow-list"), "{check}");

        let (begun, before) = (service.clock.now(), service.probes().await);
        assert!(before <= 3, "those of the beginning: {before}");
        service.pass_times(10, 18).await;
        let minutes = usize::try_from(service.clock.now().since(begun).as_secs() / 60).unwrap();
        let probes = service.probes().await - before;
        assert!((1..=minutes + 1).contains(&probes), "{probes} in {minutes} minutes");
        assert_eq!(service.health_events().await, ["degraded merchant"], "once");

        service.clear_faults().await;
        service.place("H100009").await;
        service.until_number("the end of the fault", FAULTS, |n| n == 0).await;
        service.until_health_events(&["degraded merchant", "recovered merchant"]).await;
        assert_eq!(service.degraded().await, Vec::<Value>::new());
        assert_eq!(service.merchant_check().await["reason"], Value::Null);
        service.skip(2);
        for n in 1..=3 {
            service.until_payable(&format!("H10000{n}")).await;
        }
        service.finish().await;
    }

    async fn a_fault_that_an_older_version_found_and_ended_is_announced_once(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let sql = "INSERT INTO merchant_faults
                     (merchant, fault, scope, code, message, setup, since_ms, probes, next_probe_at_ms)
                   VALUES ('main', 'certificate', 'refunds', 'CERT_ERROR', 'x', '', 1, 0, 1)";
        service.change_row(sql).await;
        service.pass_times(10, 2).await;
        service.until_health_events(&["degraded refunds"]).await;
        assert_eq!(service.degraded().await[0]["check"], json!("merchants.client_cert_file"));
        service.change_row("DELETE FROM merchant_faults").await;
        service.pass_times(10, 2).await;
        service.until_health_events(&["degraded refunds", "recovered refunds"]).await;
        service.finish().await;
    }

    async fn a_question_that_fails_for_a_wrong_key_is_no_refresh_and_says_wechats_words(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.place("H200001").await;
        service.restart_with_key(OTHER_KEY).await;
        service.skip(3);
        // On a busy machine WeChat's words may come after the caller's wait: the next answer has them.
        let refused = || async {
            let (status, order) = service.get("/v1/orders/H200001?refresh=1").await;
            assert_eq!((status, &order["refreshed"]), (200, &json!(false)), "{order}");
            (order["wechat"]["err_code_des"] == "签名错误").then_some(())
        };
        service.found("WeChat's words", refused).await;
        service.restart_with_key(KEY).await;
        service.pass_times(10, 2).await;
        service.until_health_events(&["degraded merchant", "recovered merchant"]).await;
        service.refreshed_again("H200001").await;
        service.finish().await;
    }
}

//! Days beside repairs that take long, and days that WeChat keeps no bill of.

use serde_json::json;
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::store::{DayRepair, RepairState};

use super::day_of;
use crate::harness::service::{InProcess, MCH_ID, TestService};
use crate::harness::sql::texts;
use crate::settling::on_both;

const LINES: i64 = 40;

impl InProcess {
    /// A repair of all lines of a day, that a process left.
    async fn left_repair(&self, day: &str) {
        let now = self.clock.now();
        let repair = DayRepair {
            merchant: MerchantKey::parse("main").unwrap(),
            day: day.to_owned(),
            state: RepairState::Running,
            reason: "lost".into(),
            by: ["finance".into(), "finance".into(), "127.0.0.1".into()],
            run: 1,
            place: 0,
            lines: LINES,
            done: 0,
            repaired: 0,
            asked: 0,
            settled: 0,
            tries: 0,
            next_at: Some(now),
            started_at: now,
            updated_at: now,
            stopped: None,
        };
        assert!(self.store.begin_repair(&repair).await.unwrap());
    }

    /// How often the simulator was asked about a payment.
    async fn asked_of_lines(&self) -> usize {
        let path = format!("/_sandbox/requests?mch_id={MCH_ID}");
        let (_, seen) = self.try_get(&self.wechat_url, &path).await.unwrap();
        let calls = seen["requests"].as_array().unwrap().iter().filter(|request| request["api"] == "orderquery");
        calls.map(|calls| calls["each"].as_array().unwrap().len()).sum()
    }
}

on_both! {
    async fn days_are_compared_while_wechat_answers_a_repair_slowly(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let slow = day_of(service.clock.now());
        service.red_day(&slow, LINES).await;
        let day = service.begin_day().await;
        service.paid("SL000001").await;
        service.end_day().await;
        // All of its lines take longer than the test may.
        service.faults(json!([{"on": "orderquery", "kind": "slow", "delay_ms": 4000, "times": null}])).await;
        service.left_repair(&slow).await;
        service.skip(5);
        let begun = format!("SELECT COUNT(*) FROM reconciliation_repairs WHERE next_at_ms > {}",
                            service.clock.now().as_ms());
        service.until_number("the repair under way", &begun, |n| n == 1).await;
        let compared = service.reconciled(&day).await;
        assert_eq!((&compared["state"], &compared["classes"]), (&json!("balanced"), &json!({"matched": 1})));
        let (_, found) = service.get(&format!("/v1/reconciliations/main/{slow}")).await;
        assert_eq!(found["repair"]["state"], "running", "{found}");
        service.clear_faults().await;
        let after = service.until_repair_is(&slow, "done", 5).await;
        assert_eq!((&after["repair"]["done"], &after["repair"]["repaired"]), (&json!(LINES), &json!(0)), "{after}");
        let lines = service.lines(&slow).await;
        assert!(lines.iter().all(|line| line["said"] == "WeChat knows no such payment"), "{:?}", lines[0]);
        service.finish().await;
    }

    async fn a_repair_ends_with_the_line_that_is_asked_about_when_the_process_stops(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        let day = day_of(service.clock.now());
        service.red_day(&day, LINES).await;
        let cable = service.reach_wechat_by_cable().await;
        // The others would be answered at once: this answer does not arrive before the service has to stop.
        cable.hold(true);
        service.left_repair(&day).await;
        service.skip(5);
        let asked = || async { (service.asked_of_lines().await == 1).then_some(()) };
        service.found("a line that WeChat is asked about", asked).await;
        service.stop.cancel();
        cable.hold(false);
        service.stop_service().await;
        assert_eq!(service.asked_of_lines().await, 1);
        let place = "SELECT done || ' of ' || lines || ' ' || state FROM reconciliation_repairs";
        assert_eq!(texts(service.store.db(), place).await, [format!("1 of {LINES} running")]);
        service.restart_with(|_| {}).await;
        let after = service.until_repair_is(&day, "done", 5).await;
        assert_eq!(after["repair"]["done"], LINES, "{after}");
        service.finish().await;
    }

    async fn a_day_whose_bill_wechat_does_not_keep_any_more_keeps_its_result(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.paid("OL000001").await;
        service.end_day().await;
        assert_eq!(service.reconciled(&day).await["state"], "balanced");
        service.skip(91 * 24 * 3600);
        let body = json!({"merchant": "main", "date": day});
        let (status, problem) = service.post("/v1/reconciliations", &body).await;
        assert_eq!(status, 409, "{problem}");
        assert!(problem["type"].as_str().unwrap().ends_with("bill-not-kept"), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("three months"), "{problem}");
        let (_, found) = service.get(&format!("/v1/reconciliations/main/{day}")).await;
        assert_eq!((&found["state"], &found["classes"]), (&json!("balanced"), &json!({"matched": 1})), "{found}");
        service.finish().await;
    }

    async fn a_line_of_such_a_day_is_repaired_once_its_money_is_there(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.place("OL000011").await;
        let lost = json!([{"on": "notify", "kind": "drop", "times": null},
                          {"on": "orderquery", "kind": "drop", "times": null}]);
        service.faults(lost).await;
        service.pay("OL000011").await;
        service.end_day().await;
        assert_eq!(service.reconciled(&day).await["classes"]["missing_here"], 1);
        service.skip(91 * 24 * 3600);
        let body = json!({"dry_run": false, "reason": "everything was lost"});
        let (status, asked) = service.post(&format!("/v1/reconciliations/main/{day}/repair"), &body).await;
        assert_eq!((status, &asked["results"][0]["result"]), (200, &json!("asked")), "{asked}");
        service.clear_faults().await;
        let after = service.until_repair_is(&day, "done", 5).await;
        assert_eq!((&after["state"], &after["repair"]["repaired"]), (&json!("explained"), &json!(1)), "{after}");
        let lines = service.lines(&day).await;
        assert_eq!((lines.len(), &lines[0]["resolution"]), (1, &json!("repaired")), "{lines:?}");
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger WHERE transaction_id IS NOT NULL").await, 1);
        let audited = "SELECT COUNT(*) FROM audit WHERE action = 'reconciliation.repair' AND reason LIKE '%(settled)'";
        assert_eq!(service.number(audited).await, 1);
        service.finish().await;
    }
}

//! How lines of a repair end: entered with their audit row, asked about again, or stopped.

use serde_json::{Value, json};

use super::day_of;
use crate::harness::service::{InProcess, MCH_ID, TestService};
use crate::settling::on_both;

impl InProcess {
    /// A day whose bill has a payment of another system, of which nothing was heard.
    async fn lost_day(&self, number: &str) -> String {
        let day = self.begin_day().await;
        self.faults(json!([{"on": "notify", "kind": "drop", "times": null}])).await;
        self.sold_elsewhere(number, json!({"mch_id": MCH_ID})).await;
        self.end_day().await;
        let red = self.reconciled(&day).await;
        assert_eq!((&red["state"], &red["classes"]["missing_here"]), (&json!("red"), &json!(1)), "{red}");
        day
    }

    async fn stopped(&self, day: &str, body: Value) -> (u16, Value) {
        self.post(&format!("/v1/reconciliations/main/{day}/repair/stop"), &body).await
    }
}

/// How often a line was repaired, with what it came to.
fn audited(result: &str) -> String {
    format!("SELECT COUNT(*) FROM audit WHERE action = 'reconciliation.repair' AND reason LIKE '%: {result})'")
}

const OPEN: &str = "SELECT COUNT(*) FROM reconciliation_lines WHERE resolution = 'open'";

on_both! {
    async fn a_payment_is_entered_with_its_audit_row_or_not_at_all(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.lost_day("LOST000031").await;
        // Whatever is written into the audit fails.
        service.run_sql("ALTER TABLE audit RENAME TO audit_away").await;
        let body = json!({"dry_run": false, "reason": "lost"});
        let (status, answer) = service.post(&format!("/v1/reconciliations/main/{day}/repair"), &body).await;
        assert!(status >= 500, "{status} {answer}");
        for table in ["payments", "ledger"] {
            assert_eq!(service.number(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
        }
        assert_eq!(service.number(OPEN).await, 1);
        service.run_sql("ALTER TABLE audit_away RENAME TO audit").await;
        // The repair goes on by itself, and the row says what it did.
        let after = service.until_repair_is(&day, "done", 30).await;
        assert_eq!(after["repair"]["repaired"], 1, "{after}");
        assert_eq!(service.number("SELECT COUNT(*) FROM payments WHERE class = 'unmatched'").await, 1);
        assert_eq!((service.number(&audited("entered")).await, service.number(&audited("known")).await), (1, 0));
        let after = service.until_compared(&day).await;
        assert_eq!((&after["state"], &after["classes"]), (&json!("balanced"), &json!({"matched": 1})), "{after}");
        service.leave_unfinished("WeChat's notification was dropped");
        service.leave_books_open("the payment is of no order");
        service.finish().await;
    }

    async fn a_line_of_which_wechat_says_nothing_conclusive_is_asked_about_again(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.lost_day("LOST000041").await;
        service.faults(json!([{"on": "orderquery", "kind": "system_error", "times": 3}])).await;
        let done = service.repaired(&day).await;
        assert_eq!((&done["results"][0]["result"], &done["repair"]["state"]), (&json!("waiting"), &json!("settling")));
        assert!(done["results"][0]["said"].as_str().unwrap().contains("SYSTEMERROR"), "{done}");
        assert_eq!(done["repair"]["waits_for"], 1, "{done}");
        let lines = service.lines(&day).await;
        assert_eq!((&lines[0]["resolution"], lines[0]["asked_at"].is_string()), (&json!("open"), true), "{lines:?}");
        assert!(lines[0]["said"].as_str().unwrap().contains("SYSTEMERROR"), "{lines:?}");
        assert_eq!(service.number("SELECT COUNT(*) FROM payments").await, 0);
        let after = service.until_repair_is(&day, "done", 5).await;
        assert_eq!((&after["repair"]["repaired"], &after["repair"]["waits_for"]), (&json!(1), &json!(0)), "{after}");
        let after = service.until_compared(&day).await;
        assert_eq!((&after["state"], &after["classes"]), (&json!("balanced"), &json!({"matched": 1})), "{after}");
        assert_eq!((service.number(&audited("waiting")).await, service.number(&audited("entered")).await), (1, 1));
        service.leave_unfinished("WeChat's notification was dropped");
        service.leave_books_open("the payment is of no order");
        service.finish().await;
    }

    async fn it_is_asked_about_so_often_and_the_line_keeps_what_wechat_said(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.lost_day("LOST000051").await;
        service.faults(json!([{"on": "orderquery", "kind": "system_error", "times": null}])).await;
        service.repaired(&day).await;
        let after = service.until_repair_is(&day, "unsettled", 600).await;
        assert_eq!((&after["repair"]["tries"], &after["repair"]["waits_for"]), (&json!(13), &json!(1)), "{after}");
        assert_eq!((&after["state"], &after["repair"]["next_at"]), (&json!("red"), &Value::Null), "{after}");
        // The day's next result has it, too.
        service.reconciled(&day).await;
        let lines = service.lines(&day).await;
        assert!(lines[0]["said"].as_str().unwrap().contains("SYSTEMERROR"), "{lines:?}");
        assert_eq!(service.number(&audited("waiting")).await, 1, "once, however often it was asked");
        service.leave_unfinished("WeChat's notification was dropped");
        service.leave_books_open("the payment is not in the books");
        service.finish().await;
    }

    async fn a_repair_is_stopped_once_and_another_one_finishes_the_day(db: TestDb) {
        const LINES: i64 = 620;
        let service = TestService::new().on(db).in_process().await;
        let day = day_of(service.clock.now());
        service.red_day(&day, LINES).await;
        service.enter_all_lines().await;
        service.until_repairs_rest().await;
        assert_eq!(service.stopped(&day, json!({"reason": "none"})).await.0, 404, "no repair was made");
        assert_eq!(service.repaired(&day).await["repair"]["state"], "running");
        assert_eq!(service.stopped(&day, json!({})).await.0, 400, "without a reason");
        let (status, stopped) = service.stopped(&day, json!({"reason": "the wrong day"})).await;
        assert_eq!((status, &stopped["repair"]["state"]), (200, &json!("stopped")), "{stopped}");
        assert_eq!(stopped["repair"]["next_at"], Value::Null, "{stopped}");
        assert_eq!(service.stopped(&day, json!({"reason": "again"})).await, (200, stopped.clone()));
        let left = service.number(OPEN).await;
        assert!(left > 0 && left < LINES, "{left}");
        service.skip(600);
        service.until_job_ran("repairs").await;
        assert_eq!(service.number(OPEN).await, left, "no further line is repaired");
        let shown = service.until_compared(&day).await;
        assert_eq!((&shown["repair"]["state"], &shown["repair"]["lines"]), (&json!("stopped"), &json!(LINES)));
        assert_eq!(shown["repair"]["stopped_by"], shown["repair"]["asked_by"], "{shown}");
        let audits = "SELECT COUNT(*) FROM audit WHERE action = 'reconciliation.stop' AND result = ";
        for (result, count) in [("'done'", 1), ("'repeated'", 1)] {
            assert_eq!(service.number(&format!("{audits}{result}")).await, count, "{result}");
        }
        service.repaired(&day).await;
        let after = service.until_repair_is(&day, "done", 5).await;
        assert_eq!((&after["repair"]["lines"], &after["repair"]["stopped_by"]), (&json!(left), &Value::Null));
        assert_eq!((service.number(OPEN).await, service.number(&audited("known")).await), (0, LINES), "each line once");
        service.leave_books_open("payments that the test wrote");
        service.finish().await;
    }
}

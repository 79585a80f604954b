//! Money that only the bill shows: planned, repaired through a query, settled as any other.

use serde_json::{Value, json};

use super::assert_proof;
use crate::harness::service::{InProcess, MCH_ID, TestService};
use crate::settling::on_both;

impl InProcess {
    async fn repair(&self, day: &str, body: Value) -> Value {
        let (status, answer) = self.post(&format!("/v1/reconciliations/main/{day}/repair"), &body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

on_both! {
    async fn a_payment_of_which_nothing_was_heard_is_repaired_through_a_query(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        // Another system's order under the merchant's number, whose notification never comes.
        service.faults(json!([{"on": "notify", "kind": "drop", "times": null}])).await;
        service.sold_elsewhere("LOST000001", json!({"mch_id": MCH_ID})).await;
        service.end_day().await;
        let red = service.reconciled(&day).await;
        assert_eq!((&red["state"], &red["classes"]["missing_here"]), (&json!("red"), &json!(1)), "{red}");
        assert_proof(&red, &service.lines(&day).await);
        let plan = service.repair(&day, json!({"dry_run": true})).await;
        assert_eq!((&plan["plan"][0]["mend"], &plan["dry_run"]), (&json!("enter_payment"), &json!(true)), "{plan}");
        assert_eq!(service.number("SELECT COUNT(*) FROM payments").await, 0, "a plan changes nothing");
        let done = service.repair(&day, json!({"dry_run": false, "reason": "lost notification"})).await;
        assert_eq!(done["results"][0]["result"], "entered", "{done}");
        let after = service.until_compared(&day).await;
        assert_eq!((&after["state"], &after["classes"]), (&json!("balanced"), &json!({"matched": 1})), "{after}");
        assert_eq!(service.number("SELECT COUNT(*) FROM payments WHERE class = 'unmatched'").await, 1);
        assert_eq!(service.number("SELECT COUNT(*) FROM audit WHERE action = 'reconciliation.repair'").await, 1);
        let again = service.repair(&day, json!({"dry_run": false, "reason": "again"})).await;
        assert_eq!(again["results"], json!([]), "there is nothing left to do");
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger").await, 1);
        service.leave_unfinished("WeChat's notification was dropped");
        service.leave_books_open("the payment is of no order");
        service.finish().await;
    }

    async fn an_order_whose_notification_and_queries_were_lost_becomes_paid(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.place("LO000001").await;
        let lost = json!([{"on": "notify", "kind": "drop", "times": null},
                          {"on": "orderquery", "kind": "drop", "times": null}]);
        service.faults(lost).await;
        service.pay("LO000001").await;
        service.end_day().await;
        let red = service.reconciled(&day).await;
        assert_eq!((&red["state"], &red["classes"]["missing_here"]), (&json!("red"), &json!(1)), "{red}");
        let plan = service.repair(&day, json!({"dry_run": true})).await;
        assert_eq!(plan["plan"][0]["mend"], "ask_about_order", "{plan}");
        assert_eq!(service.number("SELECT COUNT(*) FROM payments").await, 0, "a bill moves no money");
        let early = service.repair(&day, json!({"dry_run": false, "reason": "too early"})).await;
        assert_eq!(early["results"][0]["result"], "asked", "{early}");
        let open = "SELECT COUNT(*) FROM reconciliation_lines WHERE class = 'missing_here' AND resolution = 'open'";
        assert_eq!(service.number(open).await, 1, "a query that brings nothing explains nothing");
        assert_eq!(service.number("SELECT COUNT(*) FROM audit WHERE action = 'reconciliation.repair'").await, 1);
        assert_eq!(service.until_compared(&day).await["state"], "red");
        service.clear_faults().await;
        service.repair(&day, json!({"dry_run": false, "reason": "everything was lost"})).await;
        service.until_state("LO000001", "paid").await;
        service.until_idle().await;
        let after = service.reconciled(&day).await;
        assert_eq!((&after["state"], &after["classes"]), (&json!("balanced"), &json!({"matched": 1})), "{after}");
        assert_eq!(service.events("LO000001").await.iter().filter(|event| *event == "order.paid").count(), 1);
        let again = service.repair(&day, json!({"dry_run": false, "reason": "again"})).await;
        assert_eq!(again["results"], json!([]));
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger").await, 1);
        service.finish().await;
    }

    async fn a_console_refund_that_was_not_reported_is_adopted(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let day = service.begin_day().await;
        service.paid("CR000001").await;
        let body = json!({"mch_id": MCH_ID, "out_trade_no": "CR000001", "refund_fee": 40, "notify": false});
        let made = service.wechat_control("refunds/console", body).await;
        let refund_no = made["out_refund_no"].as_str().unwrap().to_owned();
        service.ends(&refund_no, "SUCCESS").await;
        service.end_day().await;
        let red = service.reconciled(&day).await;
        assert_eq!((&red["state"], &red["classes"]["refund_missing_here"]), (&json!("red"), &json!(1)), "{red}");
        let plan = service.repair(&day, json!({})).await;
        assert_eq!(plan["plan"][0]["mend"], "adopt_refund", "{plan}");
        assert_eq!(plan["plan"][0]["order_no"], "CR000001", "{plan}");
        service.repair(&day, json!({"dry_run": false, "reason": "made in the merchant platform"})).await;
        service.until_number("the adoption", "SELECT COUNT(*) FROM refund_ledger", |n| n == 1).await;
        service.until_refunded(&refund_no, "succeeded").await;
        let after = service.reconciled(&day).await;
        assert_eq!((&after["state"], &after["classes"]), (&json!("balanced"), &json!({"matched": 2})), "{after}");
        assert_eq!(after["ledger"]["refunds_fen"], 40, "it counts on the day on which WeChat accepted it");
        assert_eq!(service.events("CR000001").await.iter().filter(|e| *e == "refund.succeeded").count(), 1);
        let again = service.repair(&day, json!({"dry_run": false, "reason": "again"})).await;
        assert_eq!(again["results"], json!([]));
        service.finish().await;
    }

    async fn a_console_refund_of_a_payment_of_no_order_is_found_by_a_query(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let day = service.begin_day().await;
        service.unmatched("NO000001", json!({"mch_id": MCH_ID})).await;
        let body = json!({"mch_id": MCH_ID, "out_trade_no": "NO000001", "refund_fee": 40, "notify": false});
        let made = service.wechat_control("refunds/console", body).await;
        let refund_no = made["out_refund_no"].as_str().unwrap().to_owned();
        service.ends(&refund_no, "SUCCESS").await;
        service.end_day().await;
        let red = service.reconciled(&day).await;
        assert_eq!((&red["state"], &red["classes"]["refund_missing_here"]), (&json!("red"), &json!(1)), "{red}");
        let plan = service.repair(&day, json!({})).await;
        assert_eq!((&plan["plan"][0]["mend"], &plan["plan"][0]["order_no"]), (&json!("adopt_refund"), &Value::Null));
        let done = service.repair(&day, json!({"dry_run": false, "reason": "made in the merchant platform"})).await;
        assert_eq!(done["results"][0]["result"], "asked", "{done}");
        let after = service.until_repair_is(&day, "done", 2).await;
        assert_eq!(after["repair"]["waits_for"], 0, "{after}");
        let after = service.until_compared(&day).await;
        assert_eq!((&after["state"], &after["classes"]), (&json!("balanced"), &json!({"matched": 2})), "{after}");
        assert_eq!(service.number("SELECT COUNT(*) FROM refund_ledger WHERE amount_fen = 40").await, 1);
        service.leave_books_open("the payment is of no order");
        service.finish().await;
    }
}

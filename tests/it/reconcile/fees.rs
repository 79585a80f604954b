//! Fees: of refunds as they were booked on the account, and of lines that do not differ in the sheet of the day.

use serde_json::{Value, json};

use crate::harness::service::{API_KEY, InProcess, TestService};
use crate::settling::on_both;

impl InProcess {
    /// The rows of a sheet, by the number in their second column.
    async fn sheet_rows(&self, path: &str) -> Vec<Vec<String>> {
        let response = self.http.get(format!("{}{path}", self.base)).bearer_auth(API_KEY).send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        assert_eq!((status, kind.as_str()), (200, "text/csv; charset=utf-8"), "{path}: {text}");
        text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
    }

    async fn paid_back(&self, order_no: &str, refund_no: &str, fen: i64) {
        self.refunding(order_no, refund_no, fen).await;
        self.ends(refund_no, "SUCCESS").await;
        self.until_refunded(refund_no, "succeeded").await;
    }
}

on_both! {
    async fn a_refunds_fee_must_be_what_was_booked(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let day = service.begin_day().await;
        for number in ["FE000001", "FE000002"] {
            service.paid(number).await;
            service.paid_back(number, &format!("R{number}"), 90).await;
        }
        // Off by a fen: the rate alone says nothing of so little.
        service.plant(json!([{"kind": "fee", "number": "RFE000002"}])).await;
        service.end_day().await;
        let red = service.reconciled(&day).await;
        assert_eq!(red["classes"], json!({"matched": 3, "fee": 1}), "{red}");
        let lines = service.lines(&day).await;
        let line = &lines[0];
        assert_eq!((&line["refund_no"], &line["resolution"]), (&json!("RFE000002"), &json!("open")), "{line}");
        assert_eq!((&line["bill"]["fee"], &line["booked_fee"]), (&json!("0.00000"), &json!("-0.01000")), "{line}");
        service.leave_books_open("the bill is wrong, the books are not");
        service.finish().await;
    }

    async fn a_fund_flow_that_was_late_is_asked_for_again(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let day = service.begin_day().await;
        service.paid("FE000041").await;
        service.end_day().await;
        service.faults(json!([{"on": "downloadfundflow", "kind": "system_error", "times": null}])).await;
        let late = service.reconciled(&day).await;
        assert_eq!((&late["state"], &late["loops"]["funds"]), (&json!("balanced"), &Value::Null), "{late}");
        assert!(late["loops"]["funds_error"].as_str().unwrap().contains("SYSTEMERROR"), "{late}");
        service.clear_faults().await;
        // As long after ten as it was asked for, and some seconds.
        service.skip(1200);
        let there = || async {
            let found = service.get(&format!("/v1/reconciliations/main/{day}")).await.1;
            if found["state"] != "running" {
                service.skip(5);
            }
            found["loops"]["funds"].is_object().then_some(found)
        };
        let found = service.found("the account's loop", there).await;
        assert_eq!((&found["state"], &found["loops"]["funds"]["holds"]), (&json!("balanced"), &json!(true)), "{found}");
        assert_eq!(found["loops"]["funds_error"], Value::Null, "{found}");
        let again = "SELECT COUNT(*) FROM reconciliations WHERE recheck_at_ms IS NOT NULL";
        assert_eq!(service.number(again).await, 0, "there is nothing more to ask for");
        service.finish().await;
    }

    async fn a_run_without_the_fund_flow_keeps_what_the_one_before_knew_of_it(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let day = service.begin_day().await;
        for number in ["FE000051", "FE000052"] {
            service.paid(number).await;
            service.paid_back(number, &format!("R{number}"), 90).await;
        }
        // A difference that only the account shows.
        service.plant(json!([{"kind": "fee", "number": "RFE000052"}])).await;
        service.end_day().await;
        let whole = service.reconciled(&day).await;
        assert_eq!(whole["classes"], json!({"matched": 3, "fee": 1}), "{whole}");
        let line = service.lines(&day).await.remove(0);
        service.faults(json!([{"on": "downloadfundflow", "kind": "system_error", "times": null}])).await;
        for _ in 0..2 {
            let again = service.reconciled(&day).await;
            assert_eq!(again["classes"], whole["classes"], "{again}");
            assert_eq!(again["loops"], whole["loops"], "{again}");
            let kept = service.lines(&day).await.remove(0);
            assert_eq!((&kept["class"], &kept["booked_fee"]), (&line["class"], &line["booked_fee"]), "{kept}");
            let again = "SELECT COUNT(*) FROM reconciliations WHERE recheck_at_ms IS NOT NULL";
            assert_eq!(service.number(again).await, 1, "what the books learnt since is not compared with the account");
        }
        // Of another bill it says nothing.
        service.plant(json!([{"kind": "fee", "number": "RFE000051"}])).await;
        let other = service.reconciled(&day).await;
        assert_eq!((&other["classes"], &other["loops"]["funds"]), (&json!({"matched": 4}), &Value::Null), "{other}");
        service.leave_books_open("the bill is wrong, the books are not");
        service.finish().await;
    }

    async fn lines_that_do_not_differ_have_the_fees_of_the_bill(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let day = service.begin_day().await;
        service.paid("FE000011").await;
        service.paid_back("FE000011", "RFE000011", 90).await;
        service.paid("FE000012").await;
        service.plant(json!([{"kind": "fee", "number": "FE000012"}])).await;
        service.end_day().await;
        let before = service.sheet_rows(&format!("/v1/reconciliations/main/{day}.csv")).await;
        assert!(before.iter().all(|row| row[7].is_empty()), "there is no bill yet: {before:?}");
        assert_eq!(service.reconciled(&day).await["classes"], json!({"matched": 2, "fee": 1}));
        let path = format!("/v1/reconciliations/main/{day}.csv");
        let rows = service.sheet_rows(&path).await;
        let cells = |n: usize| [7, 8, 9, 10].map(|column| rows[n][column].as_str());
        assert_eq!(cells(0), ["0.01", "'0.60%", "0.99", ""], "{rows:?}");
        assert_eq!(cells(1), ["0.02", "'0.60%", "0.98", "fee"], "{rows:?}");
        assert_eq!(cells(2), ["-0.01", "'0.60%", "-0.89", ""], "the refund: {rows:?}");
        // One implementation under both addresses.
        assert_eq!(service.sheet_rows(&format!("/v1/reports/main/{day}.csv")).await, rows);
        // Without the bill the sheet says what it lacks.
        service.faults(json!([{"on": "downloadbill", "kind": "drop", "times": null}])).await;
        let unread = service.sheet_rows(&path).await;
        assert_eq!([&unread[0][7], &unread[0][10], &unread[1][7]], ["", "fee_unread", "0.02"], "{unread:?}");
        service.clear_faults().await;
        let query = service.get(&format!("/v1/reconciliations/main/{day}?lang=zh")).await;
        assert_eq!(query.0, 400, "of files alone: {}", query.1);
        let xlsx = format!("{}/v1/reconciliations/main/{day}.xlsx", service.base);
        let xlsx = service.http.get(xlsx).bearer_auth(API_KEY).send().await.unwrap();
        assert!(xlsx.headers()["content-type"].to_str().unwrap().contains("spreadsheetml"));
        assert_eq!(service.get("/v1/reconciliations/none/2026-01-01.csv").await.0, 404);
        assert_eq!(service.get("/v1/reconciliations/main/2026-01-01.pdf").await.0, 400);
        service.leave_books_open("the bill is wrong, the books are not");
        service.finish().await;
    }

    async fn rows_of_the_ledger_have_the_fees_of_bills_that_are_kept(db: TestDb) {
        let service = TestService::new().on(db).refunds().config("[reconcile]\nkeep_days = 100\n").in_process().await;
        let day = service.begin_day().await;
        service.paid("FE000021").await;
        service.paid_back("FE000021", "RFE000021", 90).await;
        service.end_day().await;
        let path = format!("/v1/ledger?day={day}");
        let fees = |page: &Value| -> Vec<Value> {
            page["rows"].as_array().unwrap().iter().map(|row| row["fee"].clone()).collect()
        };
        assert_eq!(fees(&service.get(&path).await.1), [Value::Null, Value::Null], "there is no bill yet");
        assert_eq!(service.reconciled(&day).await["state"], "balanced");
        // WeChat is not asked for it.
        service.faults(json!([{"on": "downloadbill", "kind": "drop", "times": null}])).await;
        for _ in 0..2 {
            let (_, page) = service.get(&path).await;
            assert_eq!(fees(&page), [json!("0.01"), json!("-0.01")], "{page}");
        }
        let rows = service.sheet_rows(&format!("{path}&format=csv")).await;
        assert_eq!([&rows[0][18], &rows[1][18]], ["0.01", "-0.01"], "{rows:?}");
        service.finish().await;
    }
}

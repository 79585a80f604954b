//! Money of several currencies: nothing is added up across them.

use serde_json::{Value, json};

use super::assert_proof;
use crate::harness::service::{API_KEY, InProcess, TestService};
use crate::settling::on_both;

impl InProcess {
    async fn file(&self, path: &str) -> String {
        let response = self.http.get(format!("{}{path}", self.base)).bearer_auth(API_KEY).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        response.text().await.unwrap()
    }
}

on_both! {
    async fn each_currency_has_its_own_sums(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.paid("FX000001").await;
        service.unmatched("FX000002", json!({"fee_type": "USD", "total_fee": 250})).await;
        service.end_day().await;
        let result = service.reconciled(&day).await;
        assert_eq!((&result["state"], &result["classes"]), (&json!("balanced"), &json!({"matched": 2})), "{result}");
        assert_eq!((&result["bill"]["payments_fen"], &result["ledger"]["payments_fen"]), (&json!(100), &json!(100)));
        let dollars = &result["others"]["USD"];
        assert_eq!((&dollars["bill"]["payments_fen"], &dollars["ledger"]["payments_fen"]), (&json!(250), &json!(250)));
        assert_eq!((&dollars["bill"]["rows"], &dollars["unexplained_fen"]), (&json!(1), &json!(0)), "{result}");
        // The day, the month and the sheet.
        let (_, daily) = service.get(&format!("/v1/reports/daily?from={day}")).await;
        let row = &daily["days"][0];
        assert_eq!((&row["payments_fen"], &row["others"]["USD"]["payments_fen"]), (&json!(100), &json!(250)), "{row}");
        assert_eq!((&row["fees"], &row["others"]["USD"]["fees"]), (&json!("0.01"), &json!("0.02")), "{row}");
        let (_, month) = service.get(&format!("/v1/periods/main/{}", &day[..7])).await;
        let figures = &month["figures"];
        assert_eq!((&figures["payments"], &figures["payments_fen"]), (&json!(1), &json!(100)), "{figures}");
        assert_eq!(figures["others"]["USD"]["payments_fen"], 250, "{figures}");
        let sheet = service.file(&format!("/v1/reports/daily?from={day}&format=csv")).await;
        let rows: Vec<&str> = sheet.lines().skip(1).collect();
        assert!(rows[0].contains(",1,1.00,") && rows[0].ends_with(",balanced,CNY,"), "{sheet}");
        assert!(rows[1].contains(",1,2.50,") && rows[1].ends_with(",balanced,USD,"), "{sheet}");
        let (_, balances) = service.get("/v1/balances?merchant=main").await;
        let closing = |n: usize| json!([balances["balances"][n]["currency"], balances["balances"][n]["closing_fen"]]);
        assert_eq!((closing(0), closing(1)), (json!(["CNY", 100]), json!(["USD", 250])), "{balances}");
        service.leave_books_open("the payment is of no order");
        service.finish().await;
    }

    async fn a_result_without_sums_per_currency_shows_none_until_it_is_compared_again(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.paid("FX000021").await;
        service.unmatched("FX000022", json!({"fee_type": "USD", "total_fee": 250})).await;
        service.end_day().await;
        service.reconciled(&day).await;
        let closed = "SELECT COUNT(*) FROM ledger_closings WHERE currency = 'USD'";
        service.until_number("the balance in dollars", closed, |n| n > 0).await;
        // As a version leaves it that adds up all currencies.
        let older = "UPDATE reconciliations SET others = NULL, others_run = NULL, others_red = NULL,
                     bill_payments_fen = 350, ledger_payments_fen = 350";
        service.store.db().execute("test", older, []).await.unwrap();
        let path = format!("/v1/reconciliations/main/{day}");
        let (_, mixed) = service.get(&path).await;
        assert_eq!((&mixed["mixed_currencies"], &mixed["state"]), (&json!(true), &json!("balanced")), "{mixed}");
        for figure in ["bill", "ledger", "unexplained_fen", "difference_fen"] {
            assert!(mixed[figure].is_null(), "{figure}: {mixed}");
        }
        let (_, daily) = service.get(&format!("/v1/reports/daily?from={day}")).await;
        let row = &daily["days"][0];
        assert_eq!((&row["payments_fen"], &row["fees"], &row["net"]), (&json!(100), &json!(null), &json!(null)));
        let again = service.reconciled(&day).await;
        let is = (&again["mixed_currencies"], &again["bill"]["payments_fen"]);
        assert_eq!(is, (&json!(null), &json!(100)), "{again}");
        assert_eq!(again["others"]["USD"]["bill"]["payments_fen"], 250, "{again}");
        service.leave_books_open("the payment is of no order");
        service.finish().await;
    }

    async fn it_is_compared_again_by_itself(db: TestDb) {
        let service = TestService::new().on(db).config("[reconcile]\nschedule = true\n").in_process().await;
        let day = service.begin_day().await;
        service.paid("FX000041").await;
        service.paid("FX000042").await;
        service.plant(json!([{"kind": "currency", "number": "FX000042", "currency": "HKD"}])).await;
        service.end_day().await;
        let red = service.reconciled(&day).await;
        assert_eq!(red["others"]["HKD"]["bill"]["payments_fen"], 100, "{red}");
        let older = "UPDATE reconciliations SET others = NULL, others_run = NULL, others_red = NULL";
        service.store.db().execute("test", older, []).await.unwrap();
        // A line of the result says that there are several currencies.
        let path = format!("/v1/reconciliations/main/{day}");
        assert_eq!(service.get(&path).await.1["mixed_currencies"], true);
        let by_itself = || async {
            service.skip(5);
            let found = service.get(&path).await.1;
            found["bill"].is_object().then_some(found)
        };
        let found = service.found("sums per currency", by_itself).await;
        assert_eq!(found["others"]["HKD"]["bill"]["payments_fen"], 100, "{found}");
        assert_eq!(found["asked_by"], json!(null), "{found}");
        service.leave_books_open("the bill is wrong, the books are not");
        service.finish().await;
    }

    async fn a_result_of_yuan_alone_is_read_as_it_is(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.paid("FX000031").await;
        service.end_day().await;
        service.reconciled(&day).await;
        let older = "UPDATE reconciliations SET others = NULL, others_run = NULL, others_red = NULL";
        service.store.db().execute("test", older, []).await.unwrap();
        let (_, found) = service.get(&format!("/v1/reconciliations/main/{day}")).await;
        let is = (&found["mixed_currencies"], &found["bill"]["payments_fen"]);
        assert_eq!(is, (&json!(null), &json!(100)), "{found}");
        // It is noted once: lists need not read its lines again.
        let noted = "SELECT COUNT(*) FROM reconciliations WHERE others_run = run AND others = '{}' AND others_red = 0";
        service.skip(5);
        service.until_number("the note", noted, |n| n == 1).await;
        assert_eq!(service.get(&format!("/v1/reconciliations/main/{day}")).await.1["bill"], found["bill"]);
        service.finish().await;
    }

    async fn a_month_is_not_closed_over_a_day_without_sums_per_currency(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.paid("FX000051").await;
        service.paid("FX000052").await;
        service.plant(json!([{"kind": "currency", "number": "FX000052", "currency": "HKD"}])).await;
        service.end_day().await;
        service.reconciled(&day).await;
        let older = "UPDATE reconciliations SET others = NULL, others_run = NULL, others_red = NULL, open_lines = 0,
                       unexplained_fen = 0";
        service.store.db().execute("test", older, []).await.unwrap();
        let state = |daily: Value| daily["days"][0]["state"].clone();
        let (_, daily) = service.get(&format!("/v1/reports/daily?from={day}")).await;
        assert_eq!(state(daily), "pending", "as long as it can be compared again");
        // WeChat has no bill of it any more: what an operator explained must do.
        service.skip(91 * 24 * 3600);
        let (_, daily) = service.get(&format!("/v1/reports/daily?from={day}&to={day}")).await;
        assert_eq!(state(daily), "explained");
        service.leave_books_open("the bill is wrong, the books are not");
        service.finish().await;
    }

    async fn a_row_in_another_currency_explains_both_amounts(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.paid("FX000011").await;
        service.paid("FX000012").await;
        let name = day.replace('-', "");
        let extra = json!({"kind": "extra", "out_trade_no": "XX000001", "day": name, "total_fee": 7});
        service.plant(json!([{"kind": "currency", "number": "FX000012", "currency": "HKD"}, extra])).await;
        service.end_day().await;
        let red = service.reconciled(&day).await;
        let lines = service.lines(&day).await;
        assert_eq!((&red["state"], lines.len()), (&json!("red"), 2), "{red}");
        let line = lines.iter().find(|line| line["class"] == "currency").unwrap();
        assert_eq!(line["explains"], json!({"HKD": 100, "CNY": -100}), "{line}");
        assert_eq!((&red["bill"]["payments_fen"], &red["ledger"]["payments_fen"]), (&json!(107), &json!(200)), "{red}");
        assert_eq!((&red["unexplained_fen"], &red["difference_fen"]), (&json!(0), &json!(107)), "{red}");
        let other = &red["others"]["HKD"];
        assert_eq!((&other["bill"]["payments_fen"], &other["difference_fen"]), (&json!(100), &json!(100)), "{red}");
        assert_eq!(other["unexplained_fen"], 0, "{red}");
        assert_proof(&red, &lines);
        // A remainder in another currency alone makes the day red as well.
        let (_, listed) = service.get("/v1/reconciliations?red=1").await;
        assert_eq!(listed["reconciliations"].as_array().unwrap().len(), 1);
        let explained = "UPDATE reconciliations SET open_lines = 0";
        service.store.db().execute("test", explained, []).await.unwrap();
        assert_eq!(service.get("/v1/reconciliations?red=1").await.1["reconciliations"], json!([]));
        let (was, is) = (r#""explained_fen":100"#, r#""explained_fen":99"#);
        let sql = format!("UPDATE reconciliations SET others_red = 1, others = replace(others, '{was}', '{is}')");
        service.store.db().execute("test", sql, []).await.unwrap();
        let (_, listed) = service.get("/v1/reconciliations?red=1").await;
        assert_eq!(listed["reconciliations"][0]["state"], "red", "{listed}");
        service.leave_books_open("the bill is wrong, the books are not");
        service.finish().await;
    }
}

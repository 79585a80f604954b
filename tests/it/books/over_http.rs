//! What finance sees of money that comes, is held, accepted and given back.

use serde_json::{Value, json};
use wxpay_worker::clock::Timestamp;

use super::agree;
use crate::harness::service::{SECOND_MERCHANT, TestService};
use crate::settling::on_both;

fn day_of(at: Timestamp) -> String {
    let t = at.to_beijing();
    format!("{}-{}-{}", &t[..4], &t[4..6], &t[6..8])
}

fn column<'a>(rows: &'a [Value], name: &str) -> Vec<&'a Value> {
    rows.iter().map(|row| &row[name]).collect()
}

on_both! {
    async fn every_movement_is_a_row_with_the_balance_behind_it(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("BK000001").await;
        service.place("BK000002").await;
        let other = json!({"out_trade_no": "BK000002", "total_fee": 70});
        let held = service.wechat_control("pay", other).await["transaction_id"].as_str().unwrap().to_owned();
        service.expect_dead_letters(&["amount_differs"]);
        let is_held = "SELECT COUNT(*) FROM payments WHERE class = 'held'";
        service.until_number("held money", is_held, |n| n == 1).await;
        let body = json!({"transaction_id": held, "reason": "it is delivered all the same"});
        assert_eq!(service.post("/v1/orders/BK000002/accept", &body).await.0, 200);
        let (status, refund) = service.give_back("BK000001", json!({"refund_no": "BKR1", "amount_fen": 30})).await;
        assert!(status < 300, "{refund}");
        service.until_refunded("BKR1", "processing").await;
        service.ends("BKR1", "SUCCESS").await;
        service.until_refunded("BKR1", "succeeded").await;

        let rows = service.ledger("merchant=main", 1).await;
        assert_eq!(column(&rows, "entry"), ["payment", "payment", "accepted", "refund"]);
        assert_eq!(column(&rows, "class"), ["credited", "held", "credited", "credited"]);
        assert_eq!(column(&rows, "from_class"), [&Value::Null, &Value::Null, &json!("held"), &Value::Null]);
        assert_eq!(column(&rows, "amount_fen"), [100, 70, 70, 30]);
        assert_eq!(column(&rows, "change_fen"), [100, 70, 0, -30]);
        assert_eq!(column(&rows, "balance_fen"), [100, 170, 170, 140]);
        assert_eq!(column(&rows, "order_no"), ["BK000001", "BK000002", "BK000002", "BK000001"]);
        assert_eq!((&rows[3]["refund_no"], &rows[3]["kind"]), (&json!("BKR1"), &json!("refund")));
        assert!(rows.iter().all(|row| row["evidence"].as_str().is_some_and(|e| e.contains(':'))), "{rows:?}");
        let has_refund_id = |row: &Value| row["refund_id"].is_string() == (row["kind"] == "refund");
        assert!(rows.iter().all(|row| row["fee"] == Value::Null && has_refund_id(row)), "{rows:?}");
        assert_eq!(service.ledger("merchant=main&from=1970-01-01T00:00:00Z", 1000).await, rows, "in one page");

        let file = service.ledger_file("merchant=main&lang=zh").await;
        assert!(file.starts_with("\u{feff}编号,记账时间,"), "{file}");
        let paid: Vec<&str> = file.lines().nth(1).unwrap().split(',').collect();
        assert_eq!((paid[0], paid[9], &paid[11][..1]), (rows[0]["id"].as_str().unwrap(), "BK000001", "'"), "{file}");
        assert_eq!(paid[14], "1.00", "{file}");
        assert_eq!(file.lines().nth(4).unwrap().split(',').nth(15), Some("-0.30"), "{file}");
        agree(&service).await;
        service.finish().await;
    }

    async fn a_day_opens_with_what_the_day_before_closed_with(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        // Far from the end of a day: nothing below takes hours.
        service.skip_to(service.clock.now().next_beijing_midnight());
        service.paid("BK000011").await;
        let first_day = day_of(service.clock.now());
        let page = service.ledger_page(&format!("day={first_day}")).await;
        assert_eq!((page["rows"].as_array().unwrap().len(), &page["complete"]), (1, &json!(false)), "{page}");
        service.skip_to(service.clock.now().next_beijing_midnight());
        service.skip(2 * 3600);
        service.until_number("a closing", "SELECT COUNT(*) FROM ledger_closings", |n| n == 1).await;
        assert_eq!(service.number("SELECT balance_fen FROM ledger_closings").await, 100);
        service.paid("BK000012").await;
        let page = service.ledger_page(&format!("day={first_day}")).await;
        assert_eq!((page["rows"].as_array().unwrap().len(), &page["complete"]), (1, &json!(true)), "{page}");
        let recorded = service.number("SELECT MAX(recorded_at_ms) FROM ledger").await;
        let second_day = day_of(Timestamp::from_ms(recorded));
        let rows = service.ledger(&format!("day={second_day}"), 10).await;
        assert_eq!((rows.len(), &rows[0]["order_no"], &rows[0]["balance_fen"]), (1, &json!("BK000012"), &json!(200)));
        let (_, balances) = service.get(&format!("/v1/balances?day={second_day}")).await;
        let balance = &balances["balances"][0];
        let sums = json!([{"entry": "payment", "from_class": null, "class": "credited", "rows": 1, "amount_fen": 100,
                           "change_fen": 100}]);
        assert_eq!((&balance["opening_fen"], &balance["closing_fen"]), (&json!(100), &json!(200)), "{balances}");
        assert_eq!(balance["sums"], sums);
        service.finish().await;
    }

    async fn what_cannot_be_meant_is_refused(db: TestDb) {
        let service = TestService::new().on(db).second_account().config(SECOND_MERCHANT).in_process().await;
        for path in [
            "ledger", "ledger?merchant=main&day=2026-13-01",
            "ledger?merchant=main&day=2026-11-27&from=2026-11-27T00:00:00Z",
            "ledger?merchant=main&from=yesterday", "ledger?merchant=main&format=xml", "ledger?merchant=main&after=x",
            "ledger?merchant=main&limit=1001", "ledger?merchant=main&lang=fr", "balances?day=today", "balances?limit=1",
            "ledger?merchant=main&from=2026-11-27T00:00:00Z&to=2026-11-26T00:00:00Z",
        ] {
            let (status, problem) = service.get(&format!("/v1/{path}")).await;
            assert_eq!((status, &problem["code"]), (400, &json!("invalid")), "{path}: {problem}");
        }
        assert_eq!(service.get("/v1/ledger?merchant=none").await.0, 404);
        assert_eq!(service.get("/v1/balances?merchant=none").await.0, 404);
        let without = service.http.get(format!("{}/v1/ledger?merchant=main", service.base)).send().await.unwrap();
        assert_eq!(without.status().as_u16(), 401);
        service.finish().await;
    }
}

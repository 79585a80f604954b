//! Days, lines and notes over HTTP.

use serde_json::{Value, json};
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::store::RunKey;

use crate::harness::service::TestService;
use crate::harness::sql::number;
use crate::harness::store::TestStore;
use crate::settling::on_both;

on_both! {
    async fn a_note_explains_a_line_and_survives_the_next_run(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.paid("NT000001").await;
        service.paid("NT000002").await;
        let planted = json!([{"kind": "amount", "number": "NT000001"}, {"kind": "fee", "number": "NT000002"}]);
        service.plant(planted).await;
        service.end_day().await;
        assert_eq!(service.reconciled(&day).await["state"], "red");
        let path = format!("/v1/reconciliations/main/{day}");
        let (_, page) = service.get(&format!("{path}/lines?class=amount")).await;
        let line = page["lines"][0].clone();
        assert_eq!((&line["bill"]["amount_fen"], &line["ledger"]["amount_fen"]), (&json!(101), &json!(100)), "{line}");
        assert_eq!((&line["order_no"], &line["explains_fen"]), (&json!("NT000001"), &json!(1)), "{line}");
        let resolve = format!("{path}/lines/{}/resolve", line["id"]);
        let (status, problem) = service.post(&resolve, &json!({})).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid")), "{problem}");
        let (status, resolved) = service.post(&resolve, &json!({"note": "WeChat confirms by mail"})).await;
        assert_eq!((status, &resolved["resolution"]), (200, &json!("resolved")));
        assert_eq!(resolved["resolved_by"], "test");
        let (status, problem) = service.post(&resolve, &json!({"note": "once more"})).await;
        assert_eq!((status, &problem["code"]), (409, &json!("line_not_open")), "{problem}");
        let (_, found) = service.get(&path).await;
        assert_eq!((&found["state"], &found["open"]), (&json!("red"), &json!(1)), "one is open: {found}");
        let again = service.reconciled(&day).await;
        assert_eq!((&again["state"], &again["open"]), (&json!("red"), &json!(1)), "{again}");
        let lines = service.lines(&day).await;
        let noted: Vec<&Value> = lines.iter().filter(|line| line["note"] == "WeChat confirms by mail").collect();
        assert_eq!((noted.len(), &noted[0]["class"]), (1, &json!("amount")), "{lines:?}");
        let open = lines.iter().find(|line| line["resolution"] == "open").unwrap();
        assert_eq!((&open["class"], &open["bill"]["fee"], &open["expected_fee"]), (
            &json!("fee"), &json!("0.02000"), &json!("0.01000"),
        ), "{open}");
        service.post(&format!("{path}/lines/{}/resolve", open["id"]), &json!({"note": "known"})).await;
        let (_, found) = service.get(&path).await;
        assert_eq!((&found["state"], &found["open"]), (&json!("explained"), &json!(0)), "{found}");
        // Another difference of the same row is another line: the note is not its.
        service.plant(json!([{"kind": "amount", "number": "NT000001", "fen": 5}])).await;
        let other = service.reconciled(&day).await;
        assert_eq!((&other["state"], &other["open"]), (&json!("red"), &json!(1)), "{other}");
        let notes = "SELECT COUNT(*) FROM audit WHERE action = 'reconciliation.resolve'";
        assert_eq!(service.number(notes).await, 2);
        service.leave_books_open("the bill is wrong, the books are not");
        service.finish().await;
    }

    async fn open_differences_are_reported_before_covered_ones(db: TestDb) {
        let stage = TestStore::open(db).await;
        let line = |run: i64, n: i64, resolution: &str| {
            format!("('main', '2026-11-29', {run}, 'k{n}', 'foreign', 'payment', '4200{n}', 0, '{resolution}')")
        };
        let lines: Vec<String> = (0..150)
            .map(|n| line(2, n, "covered"))
            .chain([line(2, 150, "none"), line(2, 151, "open"), line(1, 152, "open"), line(2, 152, "open")])
            .collect();
        let insert = "INSERT INTO reconciliation_lines (merchant, day, run, line_key, class, kind, transaction_id,
                                                        explains_fen, resolution) VALUES ";
        stage.execute(&format!("{insert}{}", lines.join(", "))).await.unwrap();
        let run = RunKey { merchant: MerchantKey::parse("main").unwrap(), day: "2026-11-29".to_owned(), run: 2 };
        let number = async |key: &str| {
            let sql = format!("SELECT id FROM reconciliation_lines WHERE run = 2 AND line_key = '{key}'");
            number(stage.store.db(), &sql).await
        };
        let fresh = stage.store.new_lines(&run, 1, 100).await.unwrap();
        assert_eq!(fresh.len(), 100);
        assert_eq!((fresh[0], fresh[1]), (number("k151").await, number("k0").await));
        assert!(!fresh.contains(&number("k152").await), "the result before had it");
        assert_eq!(stage.store.new_lines(&run, 1, 1).await.unwrap(), [number("k151").await]);
        assert_eq!(stage.store.new_lines(&run, 1, 1000).await.unwrap().len(), 151);
    }

    async fn what_cannot_be_meant_is_refused(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        for body in [json!({}), json!({"date": "today"}), json!({"date": "20261127"}), json!({"date": day}),
                     json!({"date": "2026-02-30"}), json!({"date": "2020-01-01", "more": 1})] {
            let (status, problem) = service.post("/v1/reconciliations", &body).await;
            assert_eq!((status, &problem["code"]), (400, &json!("invalid")), "{body}: {problem}");
        }
        for path in ["?from=x", "?from=2026-11-27&to=2026-11-26", "?after=x", "?limit=0", "?red=2", "/main/x",
                     "/main/2020-01-01/lines?class=odd"] {
            let (status, problem) = service.get(&format!("/v1/reconciliations{path}")).await;
            assert_eq!((status, &problem["code"]), (400, &json!("invalid")), "{path}: {problem}");
        }
        assert_eq!(service.get("/v1/reconciliations/main/2020-01-01").await.0, 404);
        assert_eq!(service.get("/v1/reconciliations/none/2020-01-01").await.0, 404);
        let without = service.http.get(format!("{}/v1/reconciliations", service.base)).send().await.unwrap();
        assert_eq!(without.status().as_u16(), 401);
        service.finish().await;
    }

    async fn days_are_listed_the_newest_first(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let mut days = Vec::new();
        for n in 0..3 {
            let day = service.begin_day().await;
            service.paid(&format!("LS00000{n}")).await;
            service.end_day().await;
            service.reconciled(&day).await;
            days.insert(0, day);
        }
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let (_, page) = service.get(&format!("/v1/reconciliations?merchant=main&limit=2{after}")).await;
            found.extend(page["reconciliations"].as_array().unwrap().iter().map(|day| day["date"].clone()));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(found, days);
        let (_, red) = service.get("/v1/reconciliations?red=1").await;
        assert_eq!(red["reconciliations"], json!([]));
        let (_, one) = service.get(&format!("/v1/reconciliations?from={0}&to={0}", days[1])).await;
        assert_eq!(one["reconciliations"].as_array().unwrap().len(), 1);
        service.finish().await;
    }
}

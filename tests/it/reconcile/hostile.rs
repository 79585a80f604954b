//! Bills that cannot be used: the run fails whole, says why, and the result before it stays.

use serde_json::{Value, json};

use crate::harness::service::TestService;
use crate::settling::on_both;

on_both! {
    async fn a_bill_that_contradicts_itself_changes_nothing(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.paid("HB000001").await;
        service.end_day().await;
        let good = service.reconciled(&day).await;
        assert_eq!(good["state"], "balanced", "{good}");
        service.plant(json!([{"kind": "summary", "day": day.replace('-', "")},
                             {"kind": "amount", "number": "HB000001"}])).await;
        let failed = service.reconciled(&day).await;
        assert_eq!((&failed["state"], &failed["result"]), (&json!("failed"), &json!("balanced")), "{failed}");
        let error = failed["error"].as_str().unwrap();
        assert!(error.contains("the summary counts 2 as 总交易单数, there are 1"), "{error}");
        assert_eq!((&failed["bill"], &failed["classes"]), (&good["bill"], &good["classes"]), "the old result stays");
        assert_eq!(service.lines(&day).await, Vec::<Value>::new());
        assert!(failed["next_try_at"].is_string(), "{failed}");
        assert_eq!(service.number("SELECT COUNT(*) FROM reconciliation_lines").await, 0);
        let in_force = service.in_force.snapshot();
        let left = std::fs::read_dir(in_force.reconcile.sorting_dir(&in_force.store)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "files are gone");
        service.finish().await;
    }

    async fn a_day_before_its_bill_is_there_waits_for_it(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.paid("HB000011").await;
        let body = json!({"merchant": "main", "date": day});
        let (status, problem) = service.post("/v1/reconciliations", &body).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid")), "the day is not over: {problem}");
        service.skip_to(service.clock.now().next_beijing_midnight());
        let early = service.reconciled(&day).await;
        assert_eq!((&early["state"], &early["result"]), (&json!("failed"), &Value::Null), "{early}");
        assert!(early["error"].as_str().unwrap().contains("WeChat has the bill of"), "{early}");
        // It is tried again by itself once the bill is there.
        service.skip(10 * 3600 + 60);
        let again = || async {
            service.skip(5);
            let found = service.get(&format!("/v1/reconciliations/main/{day}")).await.1;
            (found["state"] == "balanced").then_some(())
        };
        service.found("the next try", again).await;
        service.finish().await;
    }

    async fn no_bill_is_an_empty_day_after_noon_alone(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.end_day().await;
        let early = service.reconciled(&day).await;
        assert_eq!((&early["state"], &early["result"]), (&json!("failed"), &Value::Null), "{early}");
        service.skip(2 * 3600);
        let empty = service.reconciled(&day).await;
        assert_eq!((&empty["state"], &empty["bill"]["rows"]), (&json!("balanced"), &json!(0)), "{empty}");
        service.finish().await;
    }
}

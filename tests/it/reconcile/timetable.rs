//! When bills are asked for: by the clock alone, and by the service itself.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::reconcile::{days_to_ask, newest_missed, next_funds_try, next_try, oldest};
use wxpay_worker::wechat::v2::bill::BillDay;

use crate::harness::service::TestService;
use crate::harness::store::TestStore;
use crate::settling::on_both;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_beijing_spaced(text).unwrap()
}

fn day(text: &str) -> BillDay {
    BillDay::parse(text).unwrap()
}

#[test]
fn days_since_the_first_trade_are_asked_for_once_the_newest_first() {
    let asked = |first: Option<&str>, known: &[&str], now: &str| -> Vec<String> {
        let known: BTreeSet<String> = known.iter().map(|day| (*day).to_owned()).collect();
        days_to_ask(first.map(at), &known, at(now), 3).iter().map(ToString::to_string).collect()
    };
    let first = Some("2026-11-25 12:00:00");
    assert_eq!(asked(None, &[], "2026-11-28 12:00:00"), Vec::<String>::new(), "nothing was ever sold");
    assert_eq!(asked(first, &[], "2026-11-28 09:59:59"), ["2026-11-26", "2026-11-25"], "before ten");
    assert_eq!(asked(first, &[], "2026-11-28 10:00:00"), ["2026-11-27", "2026-11-26", "2026-11-25"]);
    assert_eq!(asked(first, &["2026-11-26"], "2026-11-28 10:00:00"), ["2026-11-27", "2026-11-25"], "a gap");
    assert_eq!(
        asked(Some("2026-11-28 08:00:00"), &[], "2026-11-28 12:00:00"),
        Vec::<String>::new(),
        "today is not over"
    );
    let old = asked(Some("2020-01-01 00:00:00"), &[], "2026-11-28 10:00:00");
    assert_eq!(old.len(), 3, "a few at once");
    let all: Vec<BillDay> =
        days_to_ask(Some(at("2020-01-01 00:00:00")), &BTreeSet::new(), at("2026-11-28 10:00:00"), 999);
    assert_eq!((all.len(), all.last().unwrap().to_string()), (90, "2026-08-30".into()), "three months back");
}

#[test]
fn a_missing_bill_is_asked_for_until_six_and_then_daily() {
    let next = |now: &str| next_try(day("2026-11-27"), at(now));
    assert_eq!(next("2026-11-28 03:00:00"), Some(at("2026-11-28 10:00:00")));
    assert_eq!(next("2026-11-28 10:00:00"), Some(at("2026-11-28 10:10:00")));
    assert_eq!(next("2026-11-28 17:59:00"), Some(at("2026-11-28 18:09:00")));
    assert_eq!(next("2026-11-28 18:00:00"), Some(at("2026-11-29 10:00:00")));
    assert_eq!(next("2026-11-30 09:00:00"), Some(at("2026-11-30 10:00:00")));
    assert_eq!(next("2026-11-30 11:00:00"), Some(at("2026-12-01 10:00:00")));
    assert_eq!(next("2027-03-01 11:00:00"), None, "WeChat does not keep it any more");
    assert_eq!(newest_missed(at("2026-11-28 11:59:59")), "2026-11-26");
    assert_eq!(newest_missed(at("2026-11-28 12:00:00")), "2026-11-27");
}

#[test]
fn the_accounts_bill_is_asked_for_again_at_double_the_distance() {
    let next = |now: &str| next_funds_try(day("2026-11-27"), at(now));
    assert_eq!(next("2026-11-28 10:00:00"), Some(at("2026-11-28 10:10:00")));
    assert_eq!(next("2026-11-28 10:10:00"), Some(at("2026-11-28 10:20:00")));
    assert_eq!(next("2026-11-28 13:00:00"), Some(at("2026-11-28 16:00:00")));
    assert_eq!(next("2026-11-30 11:00:00"), Some(at("2026-12-01 11:00:00")), "a day later at most");
    assert_eq!(next("2027-03-01 11:00:00"), None, "WeChat does not keep it any more");
}

on_both! {
    async fn the_day_before_is_compared_by_itself(db: TestDb) {
        let service = TestService::new().on(db).config("[reconcile]\nschedule = true\n").in_process().await;
        let day = service.begin_day().await;
        service.paid("TT000001").await;
        service.end_day().await;
        let by_itself = || async {
            service.skip(5);
            let found = service.get(&format!("/v1/reconciliations/main/{day}")).await.1;
            (found["state"] == "balanced").then_some(found)
        };
        let found = service.found("yesterday's result", by_itself).await;
        assert_eq!((&found["classes"], &found["asked_by"]), (&json!({"matched": 1}), &json!(null)), "{found}");
        service.skip(Duration::from_secs(3600).as_secs());
        service.until_job_ran("reconciliations").await;
        assert_eq!(service.number("SELECT MAX(runs) FROM reconciliations").await, 1, "once");
        service.finish().await;
    }

    async fn a_bill_that_wechat_no_longer_has_is_not_missed(db: TestDb) {
        let stage = TestStore::open(db).await;
        for (day, state) in [("2026-08-29", "failed"), ("2026-08-30", "failed"), ("2026-11-26", "waiting"),
                             ("2026-11-27", "waiting"), ("2026-11-25", "held")] {
            let sql = "INSERT INTO bills (merchant, kind, day, state, asked_at_ms) VALUES ('main', 'trades'";
            stage.execute(&format!("{sql}, '{day}', '{state}', 1)")).await.unwrap();
        }
        let now = at("2026-11-28 10:00:00");
        let (oldest, newest) = (oldest(now).to_string(), newest_missed(now));
        let missing = stage.store.missing_bills((oldest.as_str(), newest.as_str())).await.unwrap();
        assert_eq!(missing, [("main".to_owned(), 2)], "those from {oldest} to {newest}");
    }

    async fn a_day_that_a_run_changed_is_compared_again_though_the_run_failed(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let before = service.begin_day().await;
        service.paid("TT000011").await;
        let day = service.begin_day().await;
        service.paid("TT000012").await;
        service.refunding("TT000012", "TTR12", 30).await;
        service.ends("TTR12", "SUCCESS").await;
        service.until_refunded("TTR12", "succeeded").await;
        service.end_day().await;
        // By our books WeChat accepted it twelve hours earlier: the day before.
        service.run_sql("UPDATE refunds SET accepted_at_ms = accepted_at_ms - 43200000").await;
        let counted = service.reconciled(&before).await;
        assert_eq!(counted["ledger"]["refunds"], 1, "{counted}");
        // No run begins before the clock moves.
        service.skip(10);
        service.until_job_ran("reconciliations").await;
        let (status, asked) = service.post("/v1/reconciliations", &json!({"merchant": "main", "date": day})).await;
        assert_eq!(status, 202, "{asked}");
        // The run learns the refund's day from the bill, and then fails.
        service.run_sql("ALTER TABLE reconciliation_lines RENAME TO lines_away").await;
        service.skip(5);
        let failed = "SELECT COUNT(*) FROM job_reports WHERE job = 'reconciliations' AND outcome = 'failed'";
        service.until_number("the run has failed", failed, |reports| reports > 0).await;
        service.run_sql("ALTER TABLE lines_away RENAME TO reconciliation_lines").await;
        service.skip(66);
        assert_eq!(service.until_compared(&day).await["classes"], json!({"matched": 2}));
        let by_itself = || async {
            let found = service.get(&format!("/v1/reconciliations/main/{before}")).await.1;
            if found["state"] != "running" {
                service.skip(5);
            }
            (found["state"] == "balanced").then_some(found)
        };
        let found = service.found("the result of the day before", by_itself).await;
        assert_eq!((&found["classes"], &found["ledger"]["refunds"]), (&json!({"matched": 1}), &json!(0)), "{found}");
        service.finish().await;
    }

    async fn a_run_that_the_database_ended_is_made_again_after_a_minute(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.paid("TT000002").await;
        service.end_day().await;
        // No run begins before the clock moves.
        service.until_job_ran("reconciliations").await;
        let (status, asked) = service.post("/v1/reconciliations", &json!({"merchant": "main", "date": day})).await;
        assert_eq!(status, 202, "{asked}");
        service.run_sql("ALTER TABLE reconciliation_lines RENAME TO lines_away").await;
        service.skip(5);
        let failed = "SELECT COUNT(*) FROM job_reports WHERE job = 'reconciliations' AND outcome = 'failed'";
        service.until_number("the run has failed", failed, |reports| reports > 0).await;
        service.run_sql("ALTER TABLE lines_away RENAME TO reconciliation_lines").await;
        let under_way = service.get(&format!("/v1/reconciliations/main/{day}")).await.1;
        assert_eq!(under_way["state"], "running", "{under_way}");
        service.skip(66);
        assert_eq!(service.until_compared(&day).await["state"], "balanced");
        service.finish().await;
    }
}

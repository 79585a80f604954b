//! Bills that cannot be used: the run fails whole, says why, and the result before it stays.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ctl::support::{run, wxpayctl};
use crate::harness::service::{API_KEY, InProcess, MCH_ID, TestService};
use crate::settling::on_both;

/// What WeChat answers in place of a usable bill, and what of it the day says.
fn unusable() -> Vec<(&'static str, Value, Value, &'static str)> {
    let form = |spoil: Value| json!({"mch_id": MCH_ID, "form": {"spoil": spoil}});
    let raw = |body: &str| json!([{"on": "downloadbill", "kind": "raw", "body": body, "times": null}]);
    let (none, plain) = (json!([]), form(json!("none")));
    let page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
    vec![
        ("an archive that is cut short", form(json!("cut_short")), none.clone(), "the gzip data is cut short"),
        ("a wrong sum", form(json!("wrong_sum")), none.clone(), "the summary has 9"),
        ("a missing column", form(json!("missing_column")), none.clone(), "微信订单号"),
        ("a line of 2 GB", form(json!({"long_line": 2048})), none, "line 2: longer than 65536 bytes"),
        ("a page", plain.clone(), raw(page), "neither a bill nor an answer of WeChat's"),
        ("an error in JSON", plain, raw(r#"{"code":"SYSTEM_ERROR","message":"busy"}"#), "busy (SYSTEM_ERROR)"),
    ]
}

/// Folders that cannot be used, and whether bills are kept there; otherwise rows are sorted there.
const NO_FOLDERS: &[(&str, bool)] = &[("/dev/null/sorting", false), ("/proc/sorting", false), ("/proc/bills", true)];

/// What `wxpayctl reconcile show` says of a day.
async fn shown(service: &InProcess, day: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("api-key");
    std::fs::write(&key_file, API_KEY).unwrap();
    let mut command = wxpayctl(&["reconcile", "show", "--date", day]);
    command.env("WXPAYCTL_URL", &service.base).env("WXPAYCTL_KEY_FILE", &key_file);
    let ran = run(command).await;
    assert_eq!(ran.code, 1, "{} {}", ran.out, ran.err);
    ran.out
}

impl InProcess {
    /// Awaits the event about a bill that could not be used for this reason.
    async fn until_failure_is_reported(&self, error: &str) {
        let reported = || async {
            let (status, page) = self.get("/v1/events?types=bill.failed&limit=1000").await;
            assert_eq!(status, 200, "{page}");
            (page["events"].as_array().unwrap().last()?["data"]["error"] == error).then_some(())
        };
        self.found(&format!("the event about {error}"), reported).await;
    }
}

const FAILURES: &str = "SELECT COUNT(*) FROM outbox WHERE event_type = 'wxpay.bill.failed.v1'";

on_both! {
    async fn what_is_no_usable_bill_leaves_the_old_result_and_says_why(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.paid("HB000021").await;
        service.end_day().await;
        let good = service.reconciled(&day).await;
        assert_eq!(good["state"], "balanced", "{good}");
        for (name, form, faults, says) in unusable() {
            service.wechat_control("bills/form", form).await;
            service.faults(faults).await;
            let failed = service.reconciled(&day).await;
            let error = failed["error"].as_str().unwrap_or_default();
            assert!(failed["state"] == "failed" && error.contains(says), "{name}: {failed}");
            assert_eq!((&failed["result"], &failed["bill"]), (&json!("balanced"), &good["bill"]), "{name}");
            service.until_failure_is_reported(error).await;
            // The same reason again is no news.
            let before = service.number(FAILURES).await;
            assert_eq!(service.reconciled(&day).await["error"], error, "{name}");
            assert_eq!(service.number(FAILURES).await, before, "{name}");
            let shown = shown(&service, &day).await;
            assert!(shown.contains(says), "{name}: {shown}");
            service.clear_faults().await;
        }
        // A column more is none of these.
        let form = json!({"mch_id": MCH_ID, "form": {"spoil": "extra_column"}});
        service.wechat_control("bills/form", form).await;
        let passed = service.reconciled(&day).await;
        assert_eq!((&passed["state"], &passed["classes"]), (&json!("balanced"), &json!({"matched": 1})), "{passed}");
        service.finish().await;
    }

    async fn a_folder_that_cannot_be_used_is_named(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.paid("HB000031").await;
        service.end_day().await;
        let good = service.reconciled(&day).await;
        assert_eq!(good["state"], "balanced", "{good}");
        let settings = service.in_force.snapshot().reconcile.clone();
        for (says, keeps) in NO_FOLDERS {
            let folder = Some(PathBuf::from(says));
            service.restart_with(|config| {
                config.reconcile = settings.clone();
                if *keeps {
                    (config.reconcile.keep, config.reconcile.dir) = (Duration::from_secs(86_400), folder);
                    config.reconcile.temp_dir = Some(std::env::temp_dir());
                } else {
                    config.reconcile.temp_dir = folder;
                }
            }).await;
            let failed = service.reconciled(&day).await;
            let error = failed["error"].as_str().unwrap_or_default();
            assert!(failed["state"] == "failed" && error.contains(says), "{says}: {failed}");
            assert_eq!((&failed["result"], &failed["bill"]), (&json!("balanced"), &good["bill"]), "{says}");
        }
        service.finish().await;
    }

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

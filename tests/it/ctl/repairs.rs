//! `wxpayctl reconcile repair --stop` and `reconcile show` beside a service.

use serde_json::json;

use super::support::{run, wxpayctl};
use crate::harness::service::{API_KEY, TestService};
use crate::reconcile::day_of;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_is_shown_and_stopped() {
    let service = TestService::new().in_process().await;
    let day = day_of(service.clock.now());
    service.red_day(&day, 120).await;
    service.enter_all_lines().await;
    service.until_repairs_rest().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("api-key");
    std::fs::write(&file, API_KEY).unwrap();
    let ctl = |arguments: &[&str]| {
        let mut command = wxpayctl(arguments);
        command.env("WXPAYCTL_URL", &service.base).env("WXPAYCTL_KEY_FILE", &file);
        run(command)
    };
    let stop = ["reconcile", "repair", "--date", &day, "--stop", "--reason", "the wrong day"];
    assert_eq!(ctl(&stop).await.code, 3, "no repair was made");
    let repair = service.repaired(&day).await["repair"].clone();
    assert_eq!(repair["state"], "running", "{repair}");
    // Fifty at most: on a busy machine the request's time may be over before.
    let done = repair["done"].as_i64().unwrap();
    assert!((1..=50).contains(&done), "{repair}");
    let shown = ctl(&["reconcile", "show", "--date", &day]).await.out;
    assert!(shown.contains("running") && shown.contains("120"), "{shown}");
    assert_eq!(ctl(&stop[..5]).await.code, 2, "without a reason");
    assert_eq!(ctl(&[&stop[..], &["--yes"]].concat()).await.code, 2, "repairs or stops");
    let stopped = ctl(&stop).await;
    assert_eq!(stopped.code, 0, "{}", stopped.err);
    assert!(stopped.out.contains("stopped") && stopped.out.contains(&done.to_string()), "{}", stopped.out);
    let again = ctl(&[&stop[..], &["--json"]].concat()).await.json();
    assert_eq!((&again["repair"]["state"], &again["repair"]["done"]), (&json!("stopped"), &json!(done)), "{again}");
    service.leave_books_open("payments that the test wrote");
    service.finish().await;
}

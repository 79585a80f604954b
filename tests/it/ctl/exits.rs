//! Each exit code.

use serde_json::json;
use tempfile::TempDir;
use wxpay_worker::secret::sha256_hex;

use super::support::{Operator, Ran, run, wxpayctl};
use crate::harness::ports::free_port;
use crate::harness::service::{API_KEY, InProcess, SECOND_MERCHANT, TestService};
use crate::reconcile::day_of;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_service_answers_becomes_the_exit_code() {
    let operator = Operator::new().await;
    operator.service.place(&operator.process.base, "CTL00001", 123_456).await;
    assert_eq!(operator.run(&["health"]).await.code, 0);
    let shown = operator.run(&["orders", "show", "CTL00001", "--merchant", "main"]).await;
    assert_eq!(shown.code, 0, "{}", shown.err);
    let unknown = operator.run(&["orders", "show", "CTL00009", "--merchant", "main"]).await;
    assert_eq!((unknown.code, unknown.out.as_str()), (3, ""), "{}", unknown.err);
    assert!(unknown.err.contains("not_found"), "{}", unknown.err);
    let invalid = operator.run(&["events", "tail", "--no-follow", "--types", "no.such.type"]).await;
    assert_eq!(invalid.code, 2, "{}", invalid.err);
    let unsure = operator.run(&["dead-letters", "discard", "1", "--reason", "none of ours"]).await;
    assert_eq!(unsure.code, 6, "{}", unsure.err);
    assert!(unsure.err.contains("--yes"), "{}", unsure.err);

    let key_file = operator.service.config_file().with_file_name("other-key");
    std::fs::write(&key_file, "no-key-of-this-service").unwrap();
    let mut stranger = wxpayctl(&["jobs", "--url", &operator.process.base, "--key-file"]);
    stranger.arg(&key_file);
    let stranger = run(stranger).await;
    assert_eq!(stranger.code, 6, "{}", stranger.err);
    operator.finish().await;
}

#[tokio::test]
async fn a_service_that_is_down_is_not_a_wrong_call() {
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let down = run(wxpayctl(&["health", "--url", &nowhere])).await;
    assert_eq!((down.code, down.out.as_str()), (5, ""), "{}", down.err);
    assert!(down.err.contains("does not answer"), "{}", down.err);
    for wrong in [&["orders"][..], &["no-such-command"], &["jobs"], &["health", "--url", "ftp://x"]] {
        let ran = run(wxpayctl(wrong)).await;
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{wrong:?}: {}", ran.err);
    }
    for right in [&["--help"][..], &["--version"], &["completions", "bash"], &["orders", "list", "--help"]] {
        let ran = run(wxpayctl(right)).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{right:?}");
        assert!(!ran.out.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_that_left_lines_open_is_partly_done() {
    let service = TestService::new().in_process().await;
    let day = service.begin_day().await;
    service.paid("CTL00011").await;
    service
        .plant(json!([{"kind": "extra", "out_trade_no": "XX100001", "day": day.replace('-', ""),
                          "total_fee": 700}]))
        .await;
    service.end_day().await;
    assert_eq!(service.reconciled(&day).await["state"], "red");
    let (_folder, ctl) = beside(&service, API_KEY);
    let repaired = ctl(&["reconcile", "repair", "--date", &day, "--yes"]).await;
    assert!(repaired.out.contains("WeChat knows no such payment"), "{} {}", repaired.out, repaired.err);
    assert_eq!(repaired.code, 4, "{}", repaired.err);
    service.leave_books_open("a difference is planted");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_merchant_that_a_key_sees_need_not_be_named() {
    const KEY: &str = "key-of-the-second-merchant-alone";
    let key = format!(
        "[[api_keys]]\nname = \"second\"\nhash = \"sha256:{}\"\nscopes = [\"finance\"]\nmerchants = [\"second\"]\n",
        sha256_hex(KEY.as_bytes())
    );
    let service = TestService::new().second_account().config(SECOND_MERCHANT).config(&key).in_process().await;
    let month = day_of(service.clock.now())[..7].to_owned();
    let show = ["periods", "show", &month, "--json"];
    for (key, merchant) in [(KEY, "second"), (API_KEY, "main")] {
        let (_folder, ctl) = beside(&service, key);
        let shown = ctl(&show).await;
        assert_eq!(shown.code, 0, "{merchant}: {}", shown.err);
        assert_eq!(shown.json()["merchant"], merchant);
        assert_eq!(ctl(&[&show[..], &["--merchant", "none"]].concat()).await.code, 3, "{merchant}");
    }
    service.finish().await;
}

/// The program beside a service, with this key.
fn beside(service: &InProcess, key: &str) -> (TempDir, impl AsyncFn(&[&str]) -> Ran + use<>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("api-key");
    std::fs::write(&file, key).unwrap();
    let base = service.base.clone();
    let ctl = async move |arguments: &[&str]| {
        let mut command = wxpayctl(arguments);
        command.env("WXPAYCTL_URL", &base).env("WXPAYCTL_KEY_FILE", &file);
        run(command).await
    };
    (folder, ctl)
}

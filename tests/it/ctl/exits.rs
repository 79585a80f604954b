//! Each exit code.

use super::support::{Operator, run, wxpayctl};
use crate::harness::ports::free_port;

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

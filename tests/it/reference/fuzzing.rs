//! Schemathesis, which makes requests from the document: no answer is a defect, and none is undocumented.
//!
//! The seed is fixed in the small instance; the long one (`tests/long.sh schemathesis`) takes another each time, which
//! `WXPAY_TEST_SEED` repeats.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use wxpay_worker::clock::Clock;

use super::support::{ALL_KEY, all_scopes};
use crate::harness::service::TestService;
use crate::harness::{setting, size};

/// What is checked of each answer. What is refused, and what is taken, tests of our own decide.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";

/// A stream that does not end, and what asks other hosts.
const LEFT_OUT: &[&str] = &["followOrder", "testWebhook"];
/// It waits for half a minute where that is asked for.
const LONG_POLL: &str = "listEvents";

fn seed() -> u64 {
    let repeated = std::env::var("WXPAY_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    repeated.unwrap_or_else(|| size(1, Clock::system().now().as_ms().unsigned_abs()))
}

#[tokio::test]
async fn no_request_made_from_the_document_finds_a_defect_or_an_undocumented_answer() {
    let service = TestService::new()
        .refunds_over_plain_http()
        .clock(Clock::system())
        .config(&all_scopes())
        .config("[server]\norder_wait_ms = 300\n")
        .in_process()
        .await;
    // Something to find under the names of the examples.
    service.place("A100001").await;
    service.pay("A100001").await;
    service.until("credited", "A100001", |stored| stored.order.paid_reported).await;
    let refund = json!({"refund_no": "R100001", "amount_fen": 10});
    service.post("/v1/orders/A100001/refunds", &refund).await;
    let native = json!({"order_no": "A100002", "amount_fen": 100, "description": "Tea", "trade_type": "NATIVE",
                        "product_id": "sku-1"});
    service.post("/v1/orders", &native).await;
    let seed = seed();
    let mut fuzzer = Command::new(setting("WXPAY_TEST_PYTHON"));
    let base = service.base.clone();
    fuzzer.args(["-m", "schemathesis.cli", "run", &format!("{base}/openapi.json"), "--url", &base]);
    fuzzer.args(["-H", &format!("Authorization: Bearer {ALL_KEY}"), "--checks", CHECKS, "--no-color"]);
    fuzzer.args(["--phases", size("examples,coverage,fuzzing", "examples,coverage,fuzzing,stateful")]);
    fuzzer.args(["--max-examples", size("10", "300"), "--seed", &seed.to_string(), "--workers", "1"]);
    fuzzer.args(["--request-timeout", "40", "--max-redirects", "0"]);
    fuzzer.args(["--warnings", "off", "--continue-on-failure", "--suppress-health-check", "all"]);
    fuzzer.args(size(&["--generation-deterministic"][..], &["--generation-database", "none"]));
    for name in LEFT_OUT.iter().chain(size(&[LONG_POLL][..], &[])) {
        fuzzer.args(["--exclude-operation-id", name]);
    }
    let folder = tempfile::tempdir().unwrap();
    fuzzer.current_dir(folder.path()).stdin(Stdio::null());
    let done = tokio::task::spawn_blocking(move || fuzzer.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "WXPAY_TEST_SEED={seed}\n{said}\n{}", String::from_utf8_lossy(&done.stderr));
    let _ = writeln!(std::io::stderr(), "WXPAY_TEST_SEED={seed}\n{said}");
    // It goes on: the order of before is there, and further ones are taken.
    let (status, order) = service.get("/v1/orders/A100001").await;
    assert_eq!((status, &order["credited"]), (200, &true.into()), "{order}");
    service.leave_unfinished("orders of all kinds are on their way");
    service.leave_books_open("refunds of all kinds are on their way");
    service.finish().await;
}

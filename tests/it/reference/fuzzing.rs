//! Schemathesis, which makes requests from the document: no answer is a defect, and none is undocumented.
//!
//! The seed is fixed in the small instance; the long one (`tests/long.sh schemathesis`) takes another each time, which
//! `WXPAY_TEST_SEED` repeats.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use url::Url;
use wxpay_worker::clock::Clock;
use wxpay_worker::reference::openapi_document;

use super::support::{ALL_KEY, Described, all_scopes, described};
use crate::harness::service::TestService;
use crate::harness::{setting, size};

/// What is checked of each answer. What is refused, and what is taken, tests of our own decide.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";

/// A stream that does not end, what asks other hosts, and what ends the key that it is made with: Schemathesis finds
/// that in the list of keys, and all other addresses would answer 401.
const LEFT_OUT: &[&str] = &["followOrder", "testWebhook", "revokeKey"];
/// The document itself, which is fetched and not tried; a login that no browser began, which is 403.
const NO_ANSWER: &[&str] = &["getOpenapi", "endLogin"];
/// It waits for half a minute where that is asked for.
const LONG_POLL: &str = "listEvents";

/// The longest it may take, in seconds: a server that does not answer must not take the time of all other tests.
fn limit_s() -> u32 {
    size(900, 4 * 3600)
}

/// Addresses that gave an answer which is not one for a key that may not use them.
fn answered(document: &Value, requests: &Value) -> BTreeSet<String> {
    let operations = described(document);
    let entries = requests["log"]["entries"].as_array().unwrap();
    let counted = entries.iter().filter_map(|entry| {
        let status = entry["response"]["status"].as_u64().filter(|status| !matches!(status, 0 | 401 | 403))?;
        let (method, url) = (entry["request"]["method"].as_str()?, entry["request"]["url"].as_str()?);
        let path = Url::parse(url).ok()?.path().to_owned();
        let is_of = |of: &&Described<'_>| of.method.eq_ignore_ascii_case(method) && fits(of.path, &path);
        // Of those that fit, the one with the fewest parameters is routed to.
        let of = operations.iter().filter(is_of).min_by_key(|of| of.path.matches('{').count())?;
        (status != 405).then(|| of.operation["operationId"].as_str().unwrap().to_owned())
    });
    counted.collect()
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len() && template.iter().zip(path).all(|(part, of)| part.starts_with('{') || *part == of)
}

/// Addresses that its key may use: not those for payers' sessions.
fn usable(document: &Value) -> BTreeSet<String> {
    let of_key = described(document).into_iter().filter(|of| {
        let ways = of.operation["security"].as_array().unwrap();
        ways.is_empty() || ways.iter().any(|way| way["apiKey"].is_array())
    });
    of_key.map(|of| of.operation["operationId"].as_str().unwrap().to_owned()).collect()
}

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
    let mut fuzzer = Command::new("timeout");
    fuzzer.args([&limit_s().to_string(), &setting("WXPAY_TEST_PYTHON")]);
    let base = service.base.clone();
    fuzzer.args(["-m", "schemathesis.cli", "run", &format!("{base}/openapi.json"), "--url", &base]);
    fuzzer.args(["-H", &format!("Authorization: Bearer {ALL_KEY}"), "--checks", CHECKS, "--no-color"]);
    fuzzer.args(["--phases", size("examples,coverage,fuzzing", "examples,coverage,fuzzing,stateful")]);
    fuzzer.args(["--max-examples", size("3", "300"), "--seed", &seed.to_string(), "--workers", "1"]);
    fuzzer.args(["--request-timeout", "40", "--max-redirects", "0"]);
    fuzzer.args(["--warnings", "off", "--continue-on-failure", "--suppress-health-check", "all"]);
    fuzzer.args(size(&["--generation-deterministic"][..], &["--generation-database", "none"]));
    for name in LEFT_OUT.iter().chain(size(&[LONG_POLL][..], &[])) {
        fuzzer.args(["--exclude-operation-id", name]);
    }
    let folder = tempfile::tempdir().unwrap();
    let requests = folder.path().join("requests.har");
    fuzzer.args(["--report", "har", "--report-har-path"]).arg(&requests);
    fuzzer.current_dir(folder.path()).stdin(Stdio::null());
    let done = tokio::task::spawn_blocking(move || fuzzer.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.code() != Some(124), "it took longer than {} s: WXPAY_TEST_SEED={seed}\n{said}", limit_s());
    assert!(done.status.success(), "WXPAY_TEST_SEED={seed}\n{said}\n{}", String::from_utf8_lossy(&done.stderr));
    let _ = writeln!(std::io::stderr(), "WXPAY_TEST_SEED={seed}\n{said}");
    let document = openapi_document();
    let requests: Value = serde_json::from_slice(&std::fs::read(&requests).unwrap()).unwrap();
    let mut expected = usable(&document);
    expected.retain(|id| !NO_ANSWER.contains(&id.as_str()));
    expected.retain(|id| !LEFT_OUT.contains(&id.as_str()) && (id != LONG_POLL || size(false, true)));
    let answered = answered(&document, &requests);
    let missing: Vec<&String> = expected.difference(&answered).collect();
    assert!(missing.is_empty(), "no answer but for keys that may not use it: {missing:?}");
    assert!(expected.len() > 70, "{}", expected.len());
    // It goes on: the order of before is there, and further ones are taken.
    let (status, order) = service.get("/v1/orders/A100001").await;
    assert_eq!((status, &order["credited"]), (200, &true.into()), "{order}");
    service.leave_unfinished("orders of all kinds are on their way");
    service.leave_books_open("refunds of all kinds are on their way");
    service.finish().await;
}

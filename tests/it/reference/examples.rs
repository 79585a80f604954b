//! Every named example of a body is one that the service takes, as it stands.

use std::collections::BTreeMap;

use wxpay_worker::clock::Clock;

use super::limits::example_path;
use super::support::{ALL_KEY, Answered, all_scopes, described, strict};
use crate::harness::service::TestService;

/// Addresses whose examples name what is not there, or whose state is not the one that the body is for.
const ABSENT: &[&str] = &[
    "acceptPayment",
    "approve",
    "closePeriod",
    "deleteWebhook",
    "discardDeadLetter",
    "explainDay",
    "placeAttempt",
    "recoverWebhook",
    "refundPayment",
    "refuse",
    "reopenPeriod",
    "repairDay",
    "resolveLine",
    "revokeKey",
    "rotateWebhook",
    "runJob",
    "stopRepair",
    "updateWebhook",
];

#[tokio::test]
async fn every_named_example_of_a_body_is_taken() {
    let service =
        TestService::new().refunds_over_plain_http().clock(Clock::system()).config(&all_scopes()).in_process().await;
    let document = strict();
    let mut seen: BTreeMap<&str, Vec<(String, u16)>> = BTreeMap::new();
    // Orders first: others are about one of them, which is paid.
    let all = described(&document);
    let (orders, others): (Vec<_>, Vec<_>) = all.iter().partition(|of| of.operation["operationId"] == "placeOrder");
    for of in orders.into_iter().chain(others).filter(|of| of.path.starts_with("/v1/")) {
        let content = &of.operation["requestBody"]["content"]["application/json"];
        if content.is_null() {
            continue;
        }
        let id = of.operation["operationId"].as_str().unwrap();
        let examples = content["examples"].as_object().unwrap_or_else(|| panic!("{id} has no example"));
        assert!(!examples.is_empty(), "{id} has no example");
        // The last one of an order's refunds takes all that is left.
        for (name, example) in examples.iter().rev() {
            assert!(example["summary"].is_string() && example["value"].is_object(), "{id} {name}");
            let mut body = example["value"].clone();
            if id == "refundOrder" && body["transaction_id"].is_string() {
                // WeChat gives the numbers of payments: another than the order's is refused.
                let paid = service.stored("A100001").await.order.paid_by.unwrap();
                body["transaction_id"] = paid.transaction_id.as_str().into();
            }
            let path = example_path(&document, of);
            let method = reqwest::Method::from_bytes(of.method.to_uppercase().as_bytes()).unwrap();
            let request = service.http.request(method, format!("{}{path}", service.base)).bearer_auth(ALL_KEY);
            let request = request.header("content-type", "application/json").body(body.to_string());
            let answer = Answered::of(request.send().await.unwrap()).await;
            let words = answer.checked(&document, of.method, of.path);
            let is_taken = (200..300).contains(&answer.status);
            let is_absent = ABSENT.contains(&id) && matches!(answer.status, 404 | 409);
            assert!(is_taken || is_absent, "{id} {name}: {} {words}", answer.status);
            seen.entry(id).or_default().push((name.clone(), answer.status));
        }
        if id == "placeOrder" {
            service.pay("A100001").await;
            service.until("credited", "A100001", |stored| stored.order.paid_reported).await;
        }
    }
    assert_eq!(seen["placeOrder"].len(), 4, "{seen:?}");
    assert!(seen.len() > 15, "{seen:?}");
    for (id, answers) in seen.iter().filter(|(id, _)| !ABSENT.contains(id)) {
        assert!(answers.iter().any(|(_, status)| *status < 300), "{id} {answers:?}");
    }
    service.leave_unfinished("orders of all kinds are on their way");
    service.leave_books_open("refunds of all kinds are on their way");
    service.finish().await;
}

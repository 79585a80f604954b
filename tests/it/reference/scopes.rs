//! The scope of each address in the document is what its route demands.

use wxpay_worker::config::Scope;
use wxpay_worker::reference::openapi_document;
use wxpay_worker::secret::sha256_hex;

use super::limits::example_path;
use super::support::described;
use crate::harness::service::{API_KEY, InProcess, TestService};

fn key_with(scope: Scope) -> String {
    format!("wxk_with_{}_alone", scope.as_str())
}

fn key_without(scope: Scope) -> String {
    format!("wxk_without_{}", scope.as_str())
}

fn entry(key: &str, scopes: &[Scope]) -> String {
    let names: Vec<String> = scopes.iter().map(|scope| format!("\"{}\"", scope.as_str())).collect();
    let hash = sha256_hex(key.as_bytes());
    let names = names.join(", ");
    format!("[[api_keys]]\nname = \"{key}\"\nhash = \"sha256:{hash}\"\nmerchants = \"all\"\nscopes = [{names}]\n")
}

fn keys() -> String {
    let of_scope = |scope: Scope| {
        let others: Vec<Scope> = Scope::ALL.iter().copied().filter(|other| *other != scope).collect();
        entry(&key_with(scope), &[scope]) + &entry(&key_without(scope), &others)
    };
    Scope::ALL.iter().map(|scope| of_scope(*scope)).collect()
}

/// Status and words of an answer without waiting for what it waits for.
async fn asked(service: &InProcess, method: &str, path: &str, key: &str) -> (u16, String) {
    let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let mut request = service.http.request(method.clone(), format!("{}{path}", service.base)).bearer_auth(key);
    if method != reqwest::Method::GET {
        // No body that is taken: nothing is to be done.
        request = request.header("content-type", "application/json").body("[]");
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    // A stream does not end.
    let is_stream = answer.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
    (status, if is_stream { String::new() } else { answer.text().await.unwrap() })
}

#[tokio::test]
async fn every_address_demands_the_scope_that_it_is_described_with_and_no_other() {
    assert_ne!(API_KEY, key_with(Scope::Orders));
    let service = TestService::new().config(&keys()).in_process().await;
    let document = openapi_document();
    let mut tried = 0;
    for of in described(&document).iter().filter(|of| of.path.starts_with("/v1/")) {
        let ways = of.operation["security"].as_array().unwrap();
        let named = ways.iter().find_map(|way| way["apiKey"][0].as_str()).unwrap();
        let scope = Scope::parse(named).unwrap();
        let path = example_path(&document, of);
        let (status, words) = asked(&service, of.method, &path, &key_without(scope)).await;
        assert!(
            status == 403 && words.contains(&format!("the API key lacks the scope {named}")),
            "{} {path} without {named}: {status} {words}",
            of.method
        );
        let (status, words) = asked(&service, of.method, &path, &key_with(scope)).await;
        let is_refused = matches!(status, 401 | 403);
        assert!(!is_refused, "{} {path} with {named} alone: {status} {words}", of.method);
        tried += 1;
    }
    assert!(tried > 60, "{tried}");
    service.finish().await;
}

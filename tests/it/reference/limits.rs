//! The limits of the document hold: what is beyond one is refused with its name, what is within is not.

use serde_json::{Value, json};
use wxpay_worker::reference::openapi_document;

use super::support::{ALL_KEY, Described, all_scopes, described, resolved};
use crate::harness::service::{InProcess, TestService};

/// The path with the examples of its parameters.
pub fn example_path(document: &Value, of: &Described<'_>) -> String {
    let parameters = of.operation["parameters"].as_array().unwrap();
    let of_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
    of_path.fold(of.path.to_owned(), |path, parameter| {
        let example = &resolved(document, &parameter["schema"])["examples"][0];
        let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), &text)
    })
}

/// Values that a parameter refuses, and values that it takes.
fn values(schema: &Value) -> (Vec<String>, Vec<String>) {
    let (mut refused, mut taken) = (Vec::new(), Vec::new());
    if let Some(names) = schema["enum"].as_array() {
        refused.push("no-such-word".to_owned());
        taken.extend(names.iter().map(|name| name.as_str().unwrap().to_owned()));
    }
    if let (Some(least), Some(most)) = (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
        refused.extend(least.checked_sub(1).map(|n| n.to_string()));
        taken.push(least.to_string());
        if most < i64::MAX as u64 {
            refused.push((most + 1).to_string());
            taken.push(most.to_string());
        }
    }
    if schema["type"] == "integer" {
        refused.push("x".to_owned());
    }
    if matches!(schema["format"].as_str(), Some("date" | "date-time")) {
        refused.push("2026-13-41".to_owned());
    }
    if let Some(most) = schema["maxLength"].as_u64() {
        refused.push("a".repeat(usize::try_from(most).unwrap() + 1));
    }
    if schema["pattern"].is_string() {
        refused.push("%C3%A4".to_owned());
    }
    let examples = schema["examples"].as_array().into_iter().flatten();
    taken.extend(examples.map(|example| example.as_str().map_or_else(|| example.to_string(), str::to_owned)));
    (refused, taken.into_iter().map(|value| value.replace(':', "%3A")).collect())
}

async fn invalid(service: &InProcess, target: &str, name: &str) -> bool {
    let request = service.http.get(format!("{}{target}", service.base)).bearer_auth(ALL_KEY);
    let text = request.send().await.unwrap().text().await.unwrap();
    let Ok(problem) = serde_json::from_str::<Value>(&text) else { return false };
    let errors = problem["errors"].as_array().into_iter().flatten();
    errors.into_iter().any(|error| error["parameter"] == name)
}

/// How long an answer is waited for.
const WAITS: &str = "wait";

#[tokio::test]
async fn parameters_beyond_their_limits_are_refused_and_others_are_not() {
    let service = TestService::new().config(&all_scopes()).in_process().await;
    let document = openapi_document();
    let mut tried = 0;
    for of in described(&document).iter().filter(|of| of.method == "get" && of.path.starts_with("/v1/")) {
        let path = example_path(&document, of);
        assert!(invalid(&service, &format!("{path}?no_such_parameter=1"), "no_such_parameter").await, "{path}");
        let parameters: Vec<&Value> =
            of.operation["parameters"].as_array().unwrap().iter().filter(|p| p["in"] == "query").collect();
        for parameter in &parameters {
            let name = parameter["name"].as_str().unwrap();
            let others = parameters.iter().filter(|other| other["required"] == true && other["name"] != name);
            let others: String = others
                .map(|other| format!("&{}={}", other["name"].as_str().unwrap(), other["schema"]["examples"][0]))
                .collect::<String>()
                .replace('"', "");
            let (refused, taken) = values(&parameter["schema"]);
            for value in &refused {
                let target = format!("{path}?{name}={value}{others}");
                assert!(invalid(&service, &target, name).await, "{target} is not refused");
            }
            for value in taken.iter().filter(|_| name != WAITS && !of.path.ends_with("/stream")) {
                let target = format!("{path}?{name}={value}{others}");
                assert!(!invalid(&service, &target, name).await, "{target} is refused");
            }
            tried += refused.len() + taken.len();
        }
    }
    assert!(tried > 200, "{tried}");
    service.finish().await;
}

/// Values of a member that are refused.
fn beyond(schema: &Value) -> Vec<Value> {
    let mut refused = Vec::new();
    let is = |kind: &str| schema["type"] == kind;
    if is("string") {
        refused.push(json!(5));
        refused.extend(schema["maxLength"].as_u64().map(|most| json!("a".repeat(usize::try_from(most).unwrap() + 1))));
        refused.extend(schema["minLength"].as_u64().filter(|least| *least > 0).map(|_| json!("")));
        refused.extend(schema["pattern"].is_string().then(|| json!("ä")));
        refused.extend(schema["enum"].is_array().then(|| json!("no-such-word")));
        refused.extend(schema["format"].is_string().then(|| json!("2026-13-41")));
    }
    if is("integer") {
        refused.extend([json!("1"), json!(1.5)]);
        refused.extend(schema["maximum"].as_i64().map(|most| json!(most + 1)));
        refused.extend(schema["minimum"].as_i64().map(|least| json!(least - 1)));
    }
    if is("boolean") {
        refused.push(json!("yes"));
    }
    if is("object") || is("array") {
        refused.push(json!("text"));
    }
    refused
}

#[tokio::test]
async fn members_beyond_their_limits_are_refused() {
    let service = TestService::new().config(&all_scopes()).in_process().await;
    // Bodies of this order's addresses are read once it is found.
    service.place("A100001").await;
    let document = openapi_document();
    let mut tried = 0;
    for of in described(&document).iter().filter(|of| of.path.starts_with("/v1/")) {
        let body = &of.operation["requestBody"]["content"]["application/json"]["schema"];
        if body.is_null() {
            continue;
        }
        let path = example_path(&document, of);
        let schema = resolved(&document, body);
        let mut cases = vec![(json!({"no_such_member": 1}), "no_such_member".to_owned())];
        for (name, member) in schema["properties"].as_object().unwrap() {
            cases.extend(
                beyond(resolved(&document, member)).into_iter().map(|value| (json!({name: value}), name.clone())),
            );
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            cases.push((json!({}), name.as_str().unwrap().to_owned()));
        }
        for (body, name) in cases {
            let method = reqwest::Method::from_bytes(of.method.to_uppercase().as_bytes()).unwrap();
            let request = service.http.request(method, format!("{}{path}", service.base)).bearer_auth(ALL_KEY);
            let request = request.header("content-type", "application/json").body(body.to_string());
            let text = request.send().await.unwrap().text().await.unwrap();
            let problem: Value = serde_json::from_str(&text).unwrap();
            let named = problem["errors"].as_array().into_iter().flatten().any(|e| e["pointer"] == format!("/{name}"));
            assert!(named, "{} {path} {body}: {text}", of.method);
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
    service.finish().await;
}

/// A text of three-byte characters of this many bytes, and one with a byte more.
fn texts_of(bytes: usize) -> [String; 2] {
    let text = |bytes: usize| "茶".repeat(bytes / 3) + &"a".repeat(bytes % 3);
    [text(bytes), text(bytes + 1)]
}

#[tokio::test]
async fn limits_in_bytes_are_limits_in_bytes() {
    let service = TestService::new().config(&all_scopes()).in_process().await;
    service.place("A100001").await;
    let document = openapi_document();
    let mut tried = 0;
    for of in described(&document).iter().filter(|of| of.path.starts_with("/v1/")) {
        let body = &of.operation["requestBody"]["content"]["application/json"]["schema"];
        if body.is_null() {
            continue;
        }
        let (path, schema) = (example_path(&document, of), resolved(&document, body));
        for (name, member) in schema["properties"].as_object().unwrap() {
            let Some(most) = member["x-max-bytes"].as_u64() else { continue };
            assert!(member["description"].as_str().unwrap().contains(&format!("{most} bytes")), "{name} {member}");
            let most = usize::try_from(most).unwrap();
            let is_object = member["type"] == "object";
            let of_bytes = |bytes: usize| if is_object { bytes - "{\"a\":\"\"}".len() } else { bytes };
            for (text, is_beyond) in texts_of(of_bytes(most)).into_iter().zip([false, true]) {
                // An address is more than a text of its length.
                if name == "url" && !is_beyond {
                    continue;
                }
                let body = if is_object { json!({name: {"a": text}}) } else { json!({name: text}) };
                let method = reqwest::Method::from_bytes(of.method.to_uppercase().as_bytes()).unwrap();
                let request = service.http.request(method, format!("{}{path}", service.base)).bearer_auth(ALL_KEY);
                let request = request.header("content-type", "application/json").body(body.to_string());
                let said = request.send().await.unwrap().text().await.unwrap();
                let pointer = format!("\"pointer\":\"/{name}\"");
                // What is refused for the trade type is not refused for its length.
                let lines = said.split('{').filter(|error| error.contains(&pointer) && !error.contains("trade_type"));
                let is_named = lines.count() > 0;
                assert_eq!(is_named, is_beyond, "{} {path} {name} of {} bytes: {said}", of.method, text.len());
                tried += 1;
            }
        }
    }
    assert!(tried > 20, "{tried}");
    service.finish().await;
}

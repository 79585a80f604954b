//! The document is that of the code, describes every route, and is sound in itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use wxpay_worker::http::Error;
use wxpay_worker::reference::{openapi_document, openapi_text};
use wxpay_worker::web::Reason;

use super::support::{described, file, problems, resolved};

/// Writes the document of the code to `docs/openapi.json`, and its page.
pub const RENEW: &str = "WXPAY_RENEW_OPENAPI";
const COMMITTED: &str = "docs/openapi.json";

/// The tables of the routes that are described: not the console's, and not those of the demo.
const TABLES: &[&str] = &["src/http/routes.rs", "src/web/routes.rs", "src/reference/routes.rs"];
/// What answers all other paths below it.
const CATCH_ALL: &str = "/api/wechat/{*rest}";

#[test]
fn the_committed_document_is_that_of_the_code() {
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(format!("{}/{COMMITTED}", env!("CARGO_MANIFEST_DIR")), openapi_text()).unwrap();
    }
    let (committed, now) = (file(COMMITTED), openapi_text());
    let differs = committed.lines().zip(now.lines()).find(|(committed, now)| committed != now);
    assert!(committed == now, "{COMMITTED} is not of this code ({differs:?}): {RENEW}=1 renews it");
}

/// Method, path and handler of each `.route("path", method(handler))`.
pub fn routes() -> BTreeMap<(String, String), String> {
    let mut routes = BTreeMap::new();
    for table in TABLES {
        for call in file(table).split(".route(\"").skip(1) {
            let (path, rest) = call.split_once('"').unwrap();
            let line = rest.lines().next().unwrap();
            let line = line.replace("only(", "");
            let (method, handler) = line.trim_start_matches([',', ' ']).split_once('(').unwrap();
            let handler = handler.split(')').next().unwrap();
            if path != CATCH_ALL {
                let before = routes.insert((method.to_owned(), path.to_owned()), handler.to_owned());
                assert!(before.is_none_or(|before| path.ends_with('z') || path == "/metrics" || before == handler));
            }
        }
    }
    routes
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = openapi_document();
    let described: BTreeSet<(String, String)> =
        described(&document).iter().map(|of| (of.method.to_owned(), of.path.to_owned())).collect();
    let routes: BTreeSet<(String, String)> = routes().into_keys().collect();
    assert!(routes.len() > 80, "{}", routes.len());
    assert_eq!(routes.difference(&described).collect::<Vec<_>>(), [] as [&(String, String); 0], "not described");
    assert_eq!(described.difference(&routes).collect::<Vec<_>>(), [] as [&(String, String); 0], "no routes");
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = openapi_document();
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    for reference in &used {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    for part in ["schemas", "responses", "headers"] {
        for name in document["components"][part].as_object().unwrap().keys() {
            assert!(used.contains(&format!("#/components/{part}/{name}")), "{name} is not used");
        }
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(reference) if name == "$ref" => _ = found.insert(reference.to_owned()),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_a_summary_an_answer_and_its_refusals() {
    let document = openapi_document();
    let mut names = BTreeSet::new();
    for of in described(&document) {
        let operation = of.operation;
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{operation}");
        assert!(!operation["summary"].as_str().unwrap().is_empty());
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with(['2', '3'])), "{}", of.path);
        assert!(!responses.contains_key("0"), "{} has a refusal that no table knows: {responses:?}", of.path);
        for status in ["400", "414", "500", "503"] {
            assert!(responses.contains_key(status), "{} {status}", of.path);
        }
        let secured = operation["security"].as_array().unwrap().iter().any(|way| way["apiKey"].is_array());
        assert_eq!(secured, responses.contains_key("401") && !of.path.starts_with("/api/"), "{}", of.path);
    }
}

#[test]
fn every_problem_and_every_reason_is_an_answer_of_some_address() {
    let text = openapi_text();
    // What answers methods and paths that are not described.
    let elsewhere = ["method-not-allowed"];
    for (slug, _) in Error::TYPES.iter().filter(|(slug, _)| !elsewhere.contains(slug)) {
        assert!(text.contains(&format!("\"https://wxpay-worker.dev/problems/{slug}\"")), "{slug}");
    }
    let elsewhere = ["no_route", "method_not_allowed"];
    for reason in Reason::ALL.iter().filter(|reason| !elsewhere.contains(&reason.as_str())) {
        assert!(text.contains(&format!("\"{}\"", reason.as_str())), "{reason:?}");
    }
}

#[test]
fn every_member_and_parameter_is_explained_and_its_example_fits() {
    let document = openapi_document();
    let fits = |place: &str, schema: &Value| {
        for example in schema["examples"].as_array().into_iter().flatten() {
            let mut schema = schema.clone();
            schema.as_object_mut().unwrap().remove("examples");
            assert_eq!(problems(&document, &schema, example), [] as [String; 0], "{place}: {example}");
        }
    };
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(schema["description"].is_string(), "{name} has no description");
        for (member, schema) in schema["properties"].as_object().unwrap() {
            fits(&format!("{name}.{member}"), schema);
            assert!(schema["description"].is_string(), "{name}.{member} has no description");
        }
    }
    for of in described(&document) {
        for parameter in of.operation["parameters"].as_array().unwrap() {
            let place = format!("{} {}", of.path, parameter["name"]);
            assert!(parameter["description"].as_str().is_some_and(|about| !about.is_empty()), "{place}");
            fits(&place, &parameter["schema"]);
            assert!(resolved(&document, &parameter["schema"])["type"].is_string(), "{place}");
        }
    }
}

//! `docs/api.md` lists the routes of the document.

use std::fmt::Write as _;

use serde_json::Value;
use wxpay_worker::reference::openapi_document;

use super::document::RENEW;
use super::support::{described, file};
use crate::config::page::wrapped;

const PAGE: &str = "docs/api.md";
const INTRODUCTION: &str = "# The API

Every address, by subject; made from the OpenAPI document, which has each member with its unit, limit and example
([openapi.json](openapi.json)). The running service serves it as `GET /openapi.json`, and as pages to browse and try at
`/docs`. The key is sent as `Authorization: Bearer …`; the third column is the scope it needs. Errors are RFC 9457
problems ([problems.md](problems.md)), but for the browser side and WeChat's notifications, which have forms of their
own. Events: [events](events).
";

#[test]
fn the_page_lists_the_routes_of_the_document() {
    let document = openapi_document();
    let page = page(&document);
    for path in ["`POST /v1/orders`", "`GET /v1/ledger`", "`POST /notify/{merchant}/pay`", "`GET /readyz`"] {
        assert!(page.contains(path), "{path}");
    }
    let listed = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(listed, described(&document).len(), "each once");
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(format!("{}/{PAGE}", env!("CARGO_MANIFEST_DIR")), &page).unwrap();
    }
    assert!(file(PAGE) == page, "{RENEW}=1 writes {PAGE} anew");
}

fn page(document: &Value) -> String {
    let mut page = INTRODUCTION.to_owned();
    for tag in document["tags"].as_array().unwrap() {
        let (name, about) = (tag["name"].as_str().unwrap(), tag["description"].as_str().unwrap());
        let about = wrapped(about);
        write!(page, "\n## {name}\n\n{about}\n\n| address | does | needs |\n|---|---|---|\n").unwrap();
        for of in described(document).iter().filter(|of| of.operation["tags"][0] == name) {
            let about = of.operation["description"].as_str().map(|about| format!(": {about}")).unwrap_or_default();
            let about = about.replace('|', "\\|").replace('\n', " ");
            let summary = of.operation["summary"].as_str().unwrap();
            let (method, path) = (of.method.to_uppercase(), of.path);
            writeln!(page, "| `{method} {path}` | {summary}{about} | {} |", needs(of.operation)).unwrap();
        }
    }
    page
}

/// The scopes of a key, or what else opens it.
fn needs(operation: &Value) -> String {
    let ways = operation["security"].as_array().cloned().unwrap_or_default();
    let way = |way: &Value| match way.as_object().and_then(|way| way.iter().next()) {
        Some((scheme, scopes)) if scheme == "apiKey" => {
            let scopes: Vec<&str> = scopes.as_array().unwrap().iter().filter_map(Value::as_str).collect();
            if scopes.is_empty() { "any key".to_owned() } else { format!("`{}`", scopes.join("`, `")) }
        }
        Some((scheme, _)) if scheme == "orderToken" => "the order's `order_token`".to_owned(),
        Some((scheme, _)) if scheme == "sessionToken" => "a mini program's session".to_owned(),
        Some((scheme, _)) if scheme == "session" => "the session's cookie".to_owned(),
        Some((scheme, _)) => panic!("unknown: {scheme}"),
        None => "nothing".to_owned(),
    };
    if ways.is_empty() { "nothing".to_owned() } else { ways.iter().map(way).collect::<Vec<_>>().join(" or ") }
}

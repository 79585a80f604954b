//! The answers of an address, by status: what it answers when all is well, and its refusals.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::operation::{Access, Answer, Content, Operation};
use super::refusals::{problems, reasons};
use crate::http::{Error, PROBLEM_BASE};
use crate::web::Reason;

const CSV: &str = "text/csv";
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// Reasons of the browser side with which there is `Retry-After`.
const RETRIED_REASONS: &[&str] = &["pending", "busy", "token_unavailable", "too_many"];

/// A status while its parts are gathered.
#[derive(Default)]
struct Parts {
    abouts: Vec<String>,
    content: Map<String, Value>,
    headers: Map<String, Value>,
}

/// Refusals that have no more types than this are named by them, and stand in the document once.
const NAMED: usize = 4;

/// The responses of an operation; those that others have, too, are among the shared ones.
pub fn responses(operation: &Operation, shared: &mut Map<String, Value>) -> Value {
    let mut all: BTreeMap<u16, Parts> = BTreeMap::new();
    for answer in operation.answers {
        let parts = all.entry(answer.status).or_default();
        parts.abouts.push(answer.about.to_owned());
        parts.content = content(answer.content);
        parts.headers = headers(operation, answer);
    }
    if operation.is_kept {
        let parts = all.entry(304).or_default();
        parts.abouts.push("It is as `If-None-Match` says.".to_owned());
        parts.headers = kept_headers();
    }
    for (status, names) in reasons(operation) {
        let parts = all.entry(status).or_default();
        parts.abouts.push(listed(&names));
        let refusal = refused(&names);
        let known = parts.content.remove("application/json");
        let schema = match known {
            Some(mut known) => json!({"anyOf": [known["schema"].take(), refusal]}),
            None => refusal,
        };
        parts.content.insert("application/json".into(), json!({"schema": schema}));
        if operation.answers.iter().any(|answer| answer.status == 302) {
            parts.content.insert("text/html".into(), json!({"schema": {"type": "string"}}));
        }
        if names.iter().any(|name| RETRIED_REASONS.contains(name)) {
            parts.headers.insert("Retry-After".into(), header("RetryAfter"));
        }
        // A session that counts no more is ended, and so is a login that failed.
        if matches!(operation.access, Access::Browser | Access::Session) {
            parts.headers.insert("Set-Cookie".into(), header("SetCookie"));
        }
    }
    let mut named = Map::new();
    for (status, slugs) in problems(operation) {
        if slugs.len() <= NAMED && !all.contains_key(&status) {
            let name =
                [vec![status.to_string()], slugs.iter().map(|slug| (*slug).to_owned()).collect()].concat().join(".");
            named.insert(status.to_string(), json!({"$ref": format!("#/components/responses/{name}")}));
            shared.entry(name).or_insert_with(|| response(refusal(status, &slugs, Parts::default())));
            continue;
        }
        let parts = all.remove(&status).unwrap_or_default();
        all.insert(status, refusal(status, &slugs, parts));
    }
    let whole = all.into_iter().map(|(status, parts)| (status.to_string(), response(parts)));
    Value::Object(whole.chain(named).collect())
}

/// The parts of a status with those of its problems.
fn refusal(status: u16, slugs: &BTreeSet<&str>, mut parts: Parts) -> Parts {
    parts.abouts.push(listed(slugs));
    parts.content.insert("application/problem+json".into(), json!({"schema": problem(slugs)}));
    if slugs.iter().any(|slug| Error::RETRIED.contains(slug)) {
        parts.headers.insert("Retry-After".into(), header("RetryAfter"));
    }
    if status == 401 {
        parts.headers.insert("WWW-Authenticate".into(), header("WwwAuthenticate"));
    }
    parts
}

fn response(parts: Parts) -> Value {
    let Parts { abouts, content, mut headers } = parts;
    headers.insert("X-Request-Id".into(), header("RequestId"));
    let mut response = json!({"description": abouts.join(" Or: "), "headers": headers});
    if !content.is_empty() {
        response["content"] = content.into();
    }
    response
}

fn headers(operation: &Operation, answer: &Answer) -> Map<String, Value> {
    let mut headers = if operation.is_kept { kept_headers() } else { Map::new() };
    let mut add = |name: &str, component: &str| _ = headers.insert(name.to_owned(), header(component));
    if answer.location {
        add("Location", "Location");
    }
    if operation.is_idempotent {
        add("Idempotency-Replayed", "IdempotencyReplayed");
    }
    if operation.waits {
        add("Preference-Applied", "PreferenceApplied");
    }
    if matches!(answer.content, Content::File | Content::JsonOrFile(_)) {
        add("Content-Disposition", "ContentDisposition");
    }
    if operation.access == Access::Browser && answer.status == 302 {
        add("Set-Cookie", "SetCookie");
    }
    headers
}

fn kept_headers() -> Map<String, Value> {
    let named = [("ETag", "ETag"), ("Cache-Control", "CacheControl")];
    named.into_iter().map(|(name, component)| (name.to_owned(), header(component))).collect()
}

fn header(component: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{component}")})
}

fn content(content: Content) -> Map<String, Value> {
    let reference = |name: &str| json!({"schema": {"$ref": format!("#/components/schemas/{name}")}});
    let text = || json!({"schema": {"type": "string"}});
    let bytes = || json!({"schema": {}});
    let content = match content {
        Content::None => json!({}),
        Content::Json(name) => json!({"application/json": reference(name)}),
        Content::JsonOrFile(name) => json!({"application/json": reference(name), CSV: text(), XLSX: bytes()}),
        Content::File => json!({CSV: text(), XLSX: bytes()}),
        Content::Stream(name) => {
            let about = format!("Events whose data is `{name}`.");
            json!({"text/event-stream": {"schema": {"type": "string", "description": about}}})
        }
        Content::Envelope(name) => {
            let data = json!({"$ref": format!("#/components/schemas/{name}")});
            json!({"application/json": {"schema": envelope(&data)}})
        }
        Content::Xml => json!({"text/xml": text()}),
        Content::Text("application/json") => json!({"application/json": {"schema": {"type": "object"}}}),
        Content::Text(media) => json!({media: text()}),
    };
    match content {
        Value::Object(content) => content,
        _ => Map::new(),
    }
}

fn envelope(data: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["code", "data", "message"],
        "properties": {"code": {"const": 0}, "data": data, "message": {"const": ""}},
    })
}

fn listed(names: &BTreeSet<&str>) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// A problem of one of these types.
fn problem(slugs: &BTreeSet<&str>) -> Value {
    let types: Vec<String> = slugs.iter().map(|slug| format!("{PROBLEM_BASE}{slug}")).collect();
    json!({
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"type": "object", "properties": {"type": {"enum": types}}},
        ],
    })
}

/// A refusal of the browser side with one of these reasons.
fn refused(names: &BTreeSet<&str>) -> Value {
    let of_names = Reason::ALL.iter().filter(|reason| names.contains(reason.as_str()));
    let codes: Vec<u32> = of_names.map(|reason| reason.code()).collect();
    json!({
        "allOf": [
            {"$ref": "#/components/schemas/EnvelopeRefusal"},
            {"type": "object", "properties": {"reason": {"enum": names}, "code": {"enum": codes}}},
        ],
    })
}

//! The document as tests read it.

use std::path::Path;

use serde_json::{Value, json};
use wxpay_worker::reference::openapi_document;
use wxpay_worker::secret::sha256_hex;

use crate::http::client::Reply;

/// A key with every scope.
pub const ALL_KEY: &str = "wxk_for_every_address";

/// Its entry in the configuration, and what further addresses need.
pub fn all_scopes() -> String {
    let hash = sha256_hex(ALL_KEY.as_bytes());
    format!(
        "[[api_keys]]\nname = \"all-scopes\"\nhash = \"sha256:{hash}\"\nmerchants = \"all\"\n\
         scopes = [\"orders\", \"refunds\", \"finance\", \"ops\", \"admin\"]\n\
         [web]\nsession_key = \"{}\"\ncallback_origins = [\"https://m.example.com\"]\n",
        "3f9a1c5e7b2d4806e1f3a5c7092b4d6e8fa0b2c4d6e8f01325476981badcfe10"
    )
}

/// A method of an address.
pub struct Described<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub operation: &'a Value,
}

pub fn described(document: &Value) -> Vec<Described<'_>> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().iter().map(move |(method, operation)| Described { method, path, operation })
        })
        .collect()
}

/// The part of the document that this one refers to, or is.
pub fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| {
            panic!("nothing is at {reference}");
        }),
        None => schema,
    }
}

/// Members of answers that follow from another one, and are not in the schema.
const OPEN: &[&str] = &["TimelineEntry"];

/// The document as tests hold answers against it: an object has no members but those described.
pub fn strict() -> Value {
    let mut document = openapi_document();
    let schemas = document["components"]["schemas"].as_object_mut().unwrap();
    for (name, schema) in schemas {
        if !OPEN.contains(&name.as_str()) {
            schema["additionalProperties"] = json!(false);
        }
    }
    document
}

/// What is wrong with a value by a schema of the document.
pub fn problems(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&whole).unwrap_or_else(|e| panic!("{e}: {schema}"));
    validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

/// An answer as it came.
pub struct Answered {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answered {
    pub async fn of(answer: reqwest::Response) -> Answered {
        let status = answer.status().as_u16();
        let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Answered { status, headers, body: answer.bytes().await.unwrap().to_vec() }
    }

    pub fn of_reply(reply: &Reply) -> Answered {
        let lines = reply.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let headers = lines.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        Answered { status: reply.status, headers, body: reply.body.clone() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Its JSON, `null` where it is none, after it was held against the document: status, headers, media type, members.
    /// `template` is the path as the document has it.
    pub fn checked(&self, document: &Value, method: &str, template: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        let place = format!("{method} {template}: {}", self.status);
        let operation = &document["paths"][template][method.to_lowercase()];
        assert!(operation.is_object(), "{place} is not described");
        let response = resolved(document, &operation["responses"][self.status.to_string()]);
        assert!(response.is_object(), "{place} is not described: {text}");
        self.headers_are_as_described(document, response, &place);
        let Some(kind) = self.header("content-type") else {
            assert!(self.body.is_empty() && response["content"].is_null(), "{place} {text}");
            return Value::Null;
        };
        let kind = kind.split(';').next().unwrap();
        let content = &response["content"][kind];
        let is_any = response["content"]["*/*"].is_object();
        assert!(content.is_object() || is_any, "{place} {kind} is not described");
        if !kind.ends_with("json") {
            return Value::Null;
        }
        let value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problems(document, &content["schema"], &value), [] as [String; 0], "{place} {text}");
        value
    }

    fn headers_are_as_described(&self, document: &Value, response: &Value, place: &str) {
        let described: Vec<(String, &Value)> = response["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, header)| (name.to_lowercase(), resolved(document, header)))
            .collect();
        for (name, value) in &self.headers {
            let header = described.iter().find(|(known, _)| known == name);
            let is_usual = USUAL.contains(&name.as_str()) || name == "cache-control" && value == "no-store";
            assert!(header.is_some() || is_usual, "{place} {name}: {value} is not described");
            if let Some(expected) = header.and_then(|(_, header)| header["schema"]["const"].as_str()) {
                assert_eq!(value, expected, "{place} {name}");
            }
        }
        for (name, _) in described.iter().filter(|(name, _)| !AT_TIMES.contains(&name.as_str())) {
            assert!(self.header(name).is_some(), "{place} has no {name}: {:?}", self.headers);
        }
    }
}

/// Headers of HTTP itself and of browsers' safety, which no client acts on.
const USUAL: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "referrer-policy",
    "transfer-encoding",
    "vary",
    "x-content-type-options",
];
/// Described headers that only some answers of a status have.
const AT_TIMES: &[&str] =
    &["content-disposition", "idempotency-replayed", "preference-applied", "retry-after", "set-cookie"];

/// A file of the repository.
pub fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

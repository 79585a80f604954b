//! The document as tests read it.

use std::path::Path;

use serde_json::{Value, json};
use wxpay_worker::reference::openapi_document;
use wxpay_worker::secret::sha256_hex;

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

/// A file of the repository.
pub fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

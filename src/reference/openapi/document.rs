//! The document, put together from the tables.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::examples::EXAMPLES;
use super::field::Field;
use super::operation::{Access, Object, Operation, Section};
use super::response::responses;
use super::tables;
use super::tables::path_field;

/// All that is described.
const SECTIONS: &[&Section] = &[
    &tables::ORDERS,
    &tables::MONEY,
    &tables::FEED,
    &tables::BOOKS,
    &tables::RECONCILIATIONS,
    &tables::WEBHOOKS,
    &tables::OPERATIONS,
    &tables::REPLAYS,
    &tables::KEYS,
    &tables::BROWSER,
    &tables::NOTIFICATIONS,
    &tables::SERVICE,
];

const ABOUT: &str = "\
A service between a shop's server and WeChat Pay.\n\n\
- **Keys**: `Authorization: Bearer <API key>`. Each address names the scope that the key needs. What a key may not see \
does not exist for it (404).\n\
- **Amounts** are whole fen: 100 is ¥1.00. Fees are decimal yuan, as text. **Times** are RFC 3339 in UTC; days and \
months \
are Beijing's.\n\
- **Repeats**: a request that got no answer may be repeated unchanged. Orders are recognised by `order_no`, refunds by \
`refund_no`, both by `Idempotency-Key`, too.\n\
- **Refusals** are RFC 9457 problems; `type` is stable, `docs` is a page about it.\n\
- **Strictness**: unknown parameters and members, and those given twice, are refused. Answers may get further \
members.\n\
- **Caching**: answers are `Cache-Control: no-store`, unless an address says otherwise.\n\
- **Paths** that name an order, payment or refund take `?merchant=`: numbers are unique per merchant.";

/// The OpenAPI document of this version.
pub fn openapi_document() -> Value {
    let tags: Vec<Value> =
        SECTIONS.iter().map(|section| json!({"name": section.name, "description": section.about})).collect();
    let mut shared = Map::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for section in SECTIONS {
        for operation in section.operations {
            let methods = paths.entry(operation.path).or_default();
            methods.insert(operation.method.to_owned(), described(section, operation, &mut shared));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "wxpay-worker",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": shared,
            "headers": headers(),
            "securitySchemes": security_schemes(),
        },
    })
}

fn schemas() -> Map<String, Value> {
    let of_sections = SECTIONS.iter().flat_map(|section| section.objects).copied();
    let objects = of_sections.chain([tables::SHARED]).flatten();
    objects.map(|object| (object.name.to_owned(), schema(object))).collect()
}

fn schema(object: &Object) -> Value {
    let required: Vec<&str> = object.fields.iter().filter(|field| !field.is_optional).map(|field| field.name).collect();
    let properties: Map<String, Value> =
        object.fields.iter().map(|field| (field.name.to_owned(), field.schema())).collect();
    let mut schema = json!({"type": "object", "properties": properties});
    if !object.about.is_empty() {
        schema["description"] = object.about.into();
    }
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if object.is_request {
        schema["additionalProperties"] = false.into();
    }
    schema
}

fn described(section: &Section, operation: &Operation, shared: &mut Map<String, Value>) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "tags": [section.name],
        "summary": operation.summary,
        "parameters": parameters(operation),
        "responses": responses(operation, shared),
        "security": security(operation.access),
    });
    if !operation.about.is_empty() {
        described["description"] = operation.about.into();
    }
    if let Some(body) = operation.body {
        let schema = json!({"$ref": format!("#/components/schemas/{}", body.schema)});
        described["requestBody"] =
            json!({"required": !body.is_optional, "content": {"application/json": content_of(body.schema, &schema)}});
    } else if operation.access == Access::Wechat {
        described["requestBody"] = json!({"required": true, "content": {"text/xml": {"schema": {"type": "string"}}}});
    }
    described
}

/// A body, with its named examples: members may exclude each other, so that one of all members would be refused.
fn content_of(name: &str, schema: &Value) -> Value {
    let of_schema = EXAMPLES.iter().filter(|example| example.schema == name);
    let examples: Map<String, Value> = of_schema
        .map(|example| {
            let value: Value = serde_json::from_str(example.json).unwrap_or_default();
            (example.name.to_owned(), json!({"summary": example.summary, "value": value}))
        })
        .collect();
    json!({"schema": schema, "examples": examples})
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let of_path = operation.path_names().map(|name| parameter("path", &path_field(operation.path, name)));
    let of_query = operation.query.iter().map(|field| parameter("query", field));
    let mut parameters: Vec<Value> = of_path.chain(of_query).collect();
    if operation.is_idempotent {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "The same key with the same content is the same request. Visible ASCII characters.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        }));
    }
    if operation.waits {
        parameters.push(json!({
            "name": "Prefer", "in": "header", "required": false,
            "description": "`wait=N`: how many seconds to wait for WeChat, 30 at most. Anything else is ignored.",
            "schema": {"type": "string", "examples": ["wait=3"]},
        }));
    }
    if operation.is_kept {
        parameters.push(json!({
            "name": "If-None-Match", "in": "header", "required": false,
            "description": "The `ETag` of what is kept: where it is the same still, 304 without a body.",
            "schema": {"type": "string"},
        }));
    }
    if matches!(operation.access, Access::KeyOrToken(_)) {
        parameters.push(json!({
            "name": "Last-Event-ID", "in": "header", "required": false,
            "description": "The id of the last event that was seen. Anything else is ignored.",
            "schema": {"type": "string", "examples": ["3"]},
        }));
    }
    parameters
}

fn parameter(place: &str, field: &Field) -> Value {
    let mut schema = field.schema();
    let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    json!({
        "name": field.name,
        "in": place,
        "required": !field.is_optional,
        "description": about.unwrap_or_default(),
        "schema": schema,
    })
}

fn security(access: Access) -> Value {
    match access {
        Access::Open | Access::Browser | Access::Wechat => json!([]),
        Access::Key(scope) => json!([{"apiKey": [scope.as_str()]}]),
        Access::KeyOrToken(scope) => json!([{"apiKey": [scope.as_str()]}, {"orderToken": []}]),
        Access::Insider(scope) | Access::More(scope) => json!([{"apiKey": [scope.as_str()]}, {}]),
        Access::Session => json!([{"session": []}, {"sessionToken": []}]),
    }
}

fn security_schemes() -> Value {
    let bearer = |about: &str| json!({"type": "http", "scheme": "bearer", "description": about});
    json!({
        "apiKey": bearer("An API key; the scope it needs is with each address."),
        "orderToken": bearer("`order_token` of the order, for a payer's page; or the parameter `order_token`."),
        "sessionToken": bearer("The session of a mini program."),
        "session": {
            "type": "apiKey", "in": "cookie", "name": "__Host-wxpay_session",
            "description": "Set by the login. Without `__Host-` where `server.public_url` is http.",
        },
    })
}

fn headers() -> Value {
    let header = |about: &str, schema: Value| json!({"description": about, "schema": schema});
    json!({
        "RequestId": header("Quote it in support requests; also in the log.", json!({"type": "string"})),
        "Location": header("Where to go, or where more is known.", json!({"type": "string"})),
        "RetryAfter": header("After how many seconds the same request may succeed.", json!({"type": "integer"})),
        "IdempotencyReplayed": header(
            "`true` where the `Idempotency-Key` was used before with the same content.",
            json!({"const": "true"}),
        ),
        "PreferenceApplied": header("How long was waited at most, where `Prefer` said so.", json!({"type": "string"})),
        "ContentDisposition": header("The name of a file.", json!({"type": "string"})),
        "WwwAuthenticate": header("How a key is presented.", json!({"type": "string"})),
        "SetCookie": header("Cookies of a login that begins, succeeds or ends.", json!({"type": "string"})),
        "ETag": header("Changes with the content.", json!({"type": "string"})),
        "CacheControl": header("`no-cache`: keep it, and ask each time.", json!({"const": "no-cache"})),
    })
}

//! What of a message may be shown: no payer's identity, no signature, no secret, nothing encrypted.

use serde_json::{Map, Value};

use crate::wechat::v2::xml;

/// Names whose values are never shown, in lower case and without `_` and `-`.
const HIDDEN: &[&str] = &[
    "openid",
    "subopenid",
    "unionid",
    "sign",
    "paysign",
    "signature",
    "reqinfo",
    "key",
    "secret",
    "accesstoken",
    "refreshtoken",
    "sessionkey",
    "ordertoken",
    "prepayid",
    "authorization",
    "cookie",
    "phone",
    "phonenumber",
    "purephonenumber",
    "mobile",
    "nickname",
    "username",
    "refundrecvaccout",
    "userreceivedaccount",
    "ciphertext",
];

/// What is shown instead.
pub const MASKED: &str = "***";
/// Members of this name hold a body in base64, as WeChat posted it.
const BODY: &str = "body";

/// Headers of a notification that are kept and shown.
const HEADERS: &[&str] = &[
    "accept",
    "content-length",
    "content-type",
    "date",
    "host",
    "request-id",
    "traceparent",
    "user-agent",
    "wechatpay-nonce",
    "wechatpay-serial",
    "wechatpay-signature-type",
    "wechatpay-timestamp",
    "x-forwarded-for",
    "x-request-id",
];

/// Whether a header of a notification is kept and shown. `name` is in lower case.
pub fn is_header_shown(name: &str) -> bool {
    HEADERS.contains(&name)
}

/// The elements of an XML message, masked; what cannot be parsed is not shown at all.
pub fn notification(body: &[u8]) -> Option<Value> {
    let fields = xml::parse(body).ok()?;
    let shown = fields.into_iter().map(|(name, value)| {
        let value = if is_hidden(&name) { masked(&value) } else { Value::String(value) };
        (name, value)
    });
    Some(Value::Object(shown.collect::<Map<_, _>>()))
}

/// A command or an event, masked at every depth; a notification in it is shown by its elements.
pub fn message(payload: &[u8]) -> Option<Value> {
    serde_json::from_slice(payload).ok().map(json)
}

fn json(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let shown = members.into_iter().map(|(name, value)| {
                let value = match value {
                    Value::String(text) if name == BODY => posted(&text),
                    Value::Array(pairs) if name == "headers" => {
                        json(Value::Array(pairs.into_iter().filter(is_pair_shown).collect()))
                    }
                    value if is_hidden(&name) => match value {
                        Value::Null => Value::Null,
                        Value::String(text) => masked(&text),
                        _ => Value::String(MASKED.to_owned()),
                    },
                    value => json(value),
                };
                (name, value)
            });
            Value::Object(shown.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(json).collect()),
        other => other,
    }
}

/// Whether a header is shown, of a message that an older version published with more of them.
fn is_pair_shown(pair: &Value) -> bool {
    pair.get(0).and_then(Value::as_str).is_some_and(|name| is_header_shown(&name.to_ascii_lowercase()))
}

/// A body in base64: its elements, or no more than that it is there.
fn posted(text: &str) -> Value {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let body = STANDARD.decode(text).ok();
    body.as_deref().and_then(notification).unwrap_or_else(|| Value::String(MASKED.to_owned()))
}

fn masked(value: &str) -> Value {
    Value::String(if value.is_empty() { String::new() } else { MASKED.to_owned() })
}

fn is_hidden(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect();
    HIDDEN.contains(&plain.as_str())
}

//! A request of the platform API, read but not judged.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::Query;
use axum::http::{Method, Uri};
use serde_json::Value;

use super::answer::{Refusal, refused};

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(in crate::sandbox) struct Peer(pub IpAddr);

/// A request, read but not judged.
pub(in crate::sandbox) struct Request {
    pub method: Method,
    pub query: Vec<(String, String)>,
    pub body: Bytes,
    pub peer: IpAddr,
    /// Where the caller reached us.
    pub base: String,
}

impl Request {
    /// A parameter of the address; an empty one is as good as none.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A parameter that must be there.
    pub fn required(&self, name: &str, missing: i64) -> Result<&str, Refusal> {
        self.param(name).ok_or_else(|| refused(missing))
    }

    /// The body's object.
    pub fn json(&self) -> Result<Value, Refusal> {
        if self.body.is_empty() {
            return Err(refused(44002));
        }
        serde_json::from_slice(&self.body).ok().filter(Value::is_object).ok_or_else(|| refused(47001))
    }
}

/// A text of the body that must be there.
pub(in crate::sandbox) fn text<'v>(body: &'v Value, name: &str, missing: i64) -> Result<&'v str, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Err(refused(missing)),
        Some(Value::String(text)) if text.is_empty() => Err(refused(missing)),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(refused(47001)),
    }
}

/// `a=1&b=2`, decoded, in its order.
pub(in crate::sandbox) fn pairs(uri: &Uri) -> Vec<(String, String)> {
    Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default()
}

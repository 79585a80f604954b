//! What the lists of operators have in common.

use crate::clock::Timestamp;
use crate::http::extract::json_object::Form;
use crate::http::extract::query::Params;
use crate::http::orders::request::plain;
use crate::http::problem::{Error, FieldProblem};

const DEFAULT_LIMIT: u64 = 50;
const MAX_LIMIT: u64 = 500;
/// The longest reason, in bytes.
const REASON_MAX_BYTES: usize = 500;

/// How many rows a page has.
pub fn limit(params: &Params) -> Result<u64, Error> {
    Ok(params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT))
}

/// A time of the query string.
pub fn time(params: &Params, name: &str) -> Result<Option<Timestamp>, Error> {
    params.parsed(name, |text| Timestamp::parse_rfc3339(text).map_err(|_| "must be a time like 2026-01-02T03:04:05Z"))
}

/// The reason of a body that has nothing else.
pub fn reason_of_body(body: &[u8]) -> Result<String, Error> {
    let mut form = Form::parse(body)?;
    let reason = plain(&mut form, "reason", REASON_MAX_BYTES).filter(|reason| !reason.trim().is_empty());
    let mut problems = form.finish();
    if reason.is_none() && !problems.iter().any(|problem| problem.is_about("reason")) {
        problems.push(FieldProblem::member("reason", "is required"));
    }
    match reason {
        Some(reason) if problems.is_empty() => Ok(reason),
        _ => Err(Error::Invalid(problems)),
    }
}

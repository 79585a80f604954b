//! The bodies: which day; a note; a reason; whether a repair is only planned.

use crate::http::extract::json_object::Form;
use crate::http::orders::request::plain;
use crate::http::problem::{Error, FieldProblem};
use crate::wechat::v2::bill::BillDay;

use super::path::day;

/// The longest note, in bytes.
const NOTE_MAX_BYTES: usize = 500;

/// `{"merchant": …, "date": "2026-11-27"}`.
pub fn run(body: &[u8]) -> Result<(Option<String>, BillDay), Error> {
    let mut form = Form::parse(body)?;
    let merchant = form.text("merchant");
    let date = form.parsed("date", |text| day(&text));
    let mut problems = form.finish();
    match date {
        Some(date) if problems.is_empty() => Ok((merchant, date)),
        _ => {
            if problems.is_empty() {
                problems.push(FieldProblem::member("date", "is required"));
            }
            Err(Error::Invalid(problems))
        }
    }
}

/// `{"note": "…"}`.
pub fn note(body: &[u8]) -> Result<String, Error> {
    text(body, "note")
}

/// `{"reason": "…"}`.
pub fn reason(body: &[u8]) -> Result<String, Error> {
    text(body, "reason")
}

fn text(body: &[u8], name: &'static str) -> Result<String, Error> {
    let mut form = Form::parse(body)?;
    let text = plain(&mut form, name, NOTE_MAX_BYTES).filter(|text| !text.trim().is_empty());
    let mut problems = form.finish();
    match text {
        Some(text) if problems.is_empty() => Ok(text),
        _ => {
            if problems.is_empty() {
                problems.push(FieldProblem::member(name, "is required"));
            }
            Err(Error::Invalid(problems))
        }
    }
}

/// What a repair is asked for.
pub struct RepairRequest {
    /// A plan alone: nothing is asked for or written.
    pub is_dry: bool,
    pub line: Option<i64>,
    /// Behind which line the page of a plan begins.
    pub after: Option<i64>,
    pub reason: String,
}

fn number(form: &mut Form, name: &'static str) -> Option<i64> {
    let parsed = form.raw(name).map(|raw| raw.get().parse::<i64>());
    if matches!(parsed, Some(Err(_))) {
        form.problem(name, "must be a whole number");
    }
    parsed.and_then(Result::ok)
}

/// `{"dry_run": true}`, the default, with `after` for its next pages; `{"dry_run": false, "reason": "…"}`; a `line`
/// limits it to that one.
pub fn repair(body: &[u8]) -> Result<RepairRequest, Error> {
    let mut form = Form::parse(if body.is_empty() { b"{}" } else { body })?;
    let is_dry = match form.raw("dry_run").map(|raw| raw.get()) {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => {
            form.problem("dry_run", "must be true or false");
            true
        }
    };
    let line = number(&mut form, "line");
    let after = number(&mut form, "after");
    if !is_dry && after.is_some() {
        form.problem("after", "is of a plan alone");
    }
    let reason = plain(&mut form, "reason", NOTE_MAX_BYTES).filter(|reason| !reason.trim().is_empty());
    if !is_dry && reason.is_none() {
        form.problem("reason", "is required, unless dry_run is true");
    }
    let problems = form.finish();
    if problems.is_empty() {
        Ok(RepairRequest { is_dry, line, after, reason: reason.unwrap_or_default() })
    } else {
        Err(Error::Invalid(problems))
    }
}

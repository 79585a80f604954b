//! The body of `POST /v1/ops/replays`: which rows, why, and how fast.

use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::http::extract::json_object::Form;
use crate::http::orders::request::plain;
use crate::http::problem::{At, Error, FieldProblem};
use crate::ids::{MerchantKey, OrderNo};
use crate::ops::replay::{DEFAULT_RATE, MAX_RATE, Request};
use crate::store::{ReplayKind, ReplaySelect};

/// The longest reason, in bytes.
const REASON_MAX_BYTES: usize = 500;
/// The longest id and reason class, in bytes.
const WORD_MAX_BYTES: usize = 64;
/// Ids of one selection.
const MAX_IDS: usize = 1000;

/// The request, and the merchant it names.
pub fn parse(body: &[u8]) -> Result<(Request, Option<String>), Error> {
    let mut form = Form::parse(body)?;
    let reason = plain(&mut form, "reason", REASON_MAX_BYTES).filter(|reason| !reason.trim().is_empty());
    let rate = rate(&mut form);
    let selected = form.raw("select").map(select);
    let mut problems = form.finish();
    let select = match selected {
        Some(Ok(select)) => Some(select),
        Some(Err(more)) => {
            problems.extend(more);
            None
        }
        None => {
            problems.push(FieldProblem::member("select", "is required"));
            None
        }
    };
    if reason.is_none() && !problems.iter().any(|problem| problem.is_about("reason")) {
        problems.push(FieldProblem::member("reason", "is required"));
    }
    match (select, reason, rate) {
        (Some((select, merchant)), Some(reason), Some(rate_per_second)) if problems.is_empty() => {
            Ok((Request { select, reason, rate_per_second }, merchant))
        }
        _ => Err(Error::Invalid(problems)),
    }
}

/// The request, limited to the merchants that its caller sees.
pub fn cap(request: Request, merchants: Option<Vec<MerchantKey>>) -> Request {
    Request { select: ReplaySelect { merchants, ..request.select }, ..request }
}

/// None where the rate is not one.
fn rate(form: &mut Form<'_>) -> Option<u32> {
    let Some(raw) = form.raw("rate_per_second") else { return Some(DEFAULT_RATE) };
    let rate = raw.get().parse::<u32>().ok().filter(|rate| (1..=MAX_RATE).contains(rate));
    if rate.is_none() {
        form.problem("rate_per_second", format!("must be a whole number from 1 to {MAX_RATE}"));
    }
    rate
}

fn select(raw: &RawValue) -> Result<(ReplaySelect, Option<String>), Vec<FieldProblem>> {
    let Ok(mut form) = Form::parse(raw.get().as_bytes()) else {
        return Err(vec![FieldProblem::member("select", "must be an object with distinct members")]);
    };
    let kind = form
        .parsed("kind", |text| ReplayKind::parse(&text).ok_or("must be notification, dead_letter, event or webhook"));
    let refused = flag(&mut form, "refused");
    let ids = ids(&mut form);
    let merchant = plain(&mut form, "merchant", WORD_MAX_BYTES);
    let reason_class = plain(&mut form, "reason_class", WORD_MAX_BYTES);
    let order_no = form.parsed("order_no", OrderNo::parse);
    let time = |form: &mut Form<'_>, name: &str| {
        form.parsed(name, |text| {
            Timestamp::parse_rfc3339(&text).map_err(|_| "must be a time like 2026-01-02T03:04:05Z")
        })
    };
    let (from, to) = (time(&mut form, "from"), time(&mut form, "to"));
    if kind.is_none() && !form.problems.iter().any(|problem| problem.is_about("kind")) {
        form.problem("kind", "is required");
    }
    if refused && kind.is_some_and(|kind| kind != ReplayKind::Notification) {
        form.problem("refused", "is for notifications");
    }
    if reason_class.is_some() && kind == Some(ReplayKind::Event) {
        form.problem("reason_class", "is not for events");
    }
    let problems: Vec<FieldProblem> = form.finish().into_iter().map(inside).collect();
    match kind {
        Some(kind) if problems.is_empty() => {
            let order_no = order_no.map(String::from);
            let select = ReplaySelect { kind, ids, refused, merchants: None, reason_class, order_no, from, to };
            Ok((select, merchant))
        }
        _ => Err(problems),
    }
}

fn flag(form: &mut Form<'_>, name: &str) -> bool {
    match form.raw(name).map(RawValue::get) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            form.problem(name, "must be true or false");
            false
        }
    }
}

/// Texts, or the numbers that dead letters have.
fn ids(form: &mut Form<'_>) -> Vec<String> {
    let Some(raw) = form.raw("ids") else { return Vec::new() };
    let parsed: Option<Vec<String>> = serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok().and_then(|ids| {
        let id = |raw: &&RawValue| match raw.get().parse::<u32>() {
            Ok(number) => Some(number.to_string()),
            Err(_) => serde_json::from_str::<String>(raw.get()).ok(),
        };
        ids.iter().map(id).collect()
    });
    let is_id = |id: &String| {
        (1..=WORD_MAX_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    match parsed.filter(|ids| (1..=MAX_IDS).contains(&ids.len()) && ids.iter().all(is_id)) {
        Some(ids) => ids,
        None => {
            form.problem("ids", format!("must be a list of 1 to {MAX_IDS} ids"));
            Vec::new()
        }
    }
}

/// A problem of a member of `select`.
fn inside(problem: FieldProblem) -> FieldProblem {
    match problem.at {
        At::Pointer(pointer) => FieldProblem { at: At::Pointer(format!("/select{pointer}")), ..problem },
        at @ (At::Parameter(_) | At::Header(_)) => FieldProblem { at, ..problem },
    }
}

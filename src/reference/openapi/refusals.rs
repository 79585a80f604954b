//! Which refusals an address has: those that follow from its form, and its own.

use std::collections::{BTreeMap, BTreeSet};

use super::operation::{Access, Operation};
use crate::http::Error;
use crate::web::Reason;

/// What any request may be refused with before its handler sees it, and where that fails.
const EVERY: &[&str] = &["malformed", "uri-too-long", "overloaded", "internal"];
/// Of those that read a key.
const KEYED: &[&str] = &["invalid", "unauthorized", "forbidden", "rate-limited", "unavailable"];
/// Of those that read a body.
const BODY: &[&str] = &["body-timeout", "too-large", "media-type", "content-encoding"];

/// Of every path of the browser side.
const OPEN: &[&str] = &["not_open", "bad_parameter", "busy", "internal"];
/// Of those that read a body.
const OPEN_BODY: &[&str] = &["body_timeout", "too_large", "media_type"];

/// Slugs of problems by status.
pub type Problems = BTreeMap<u16, BTreeSet<&'static str>>;

/// Whether it is one of the browser side, which has reasons.
pub const fn has_reasons(operation: &Operation) -> bool {
    matches!(operation.access, Access::Browser | Access::Session)
}

/// The problems of an address.
pub fn problems(operation: &Operation) -> Problems {
    let mut slugs: BTreeSet<&str> = EVERY.iter().copied().collect();
    if !has_reasons(operation) && operation.access != Access::Wechat {
        match operation.access {
            Access::Key(_) | Access::KeyOrToken(_) => slugs.extend(KEYED),
            Access::Insider(_) | Access::More(_) => slugs.extend(KEYED.iter().filter(|slug| **slug != "invalid")),
            Access::Open | Access::Browser | Access::Session | Access::Wechat => {}
        }
        if operation.body.is_some() {
            slugs.extend(BODY);
        }
        if operation.path.contains('{') {
            slugs.extend(["not-found", "no-route"]);
        }
        slugs.extend(operation.refusals);
    }
    let mut problems = Problems::new();
    for slug in slugs {
        let status = Error::TYPES.iter().find(|(known, _)| *known == slug).map(|(_, status)| *status);
        problems.entry(status.unwrap_or_default()).or_default().insert(slug);
    }
    problems
}

/// The reasons of an address of the browser side, by status.
pub fn reasons(operation: &Operation) -> Problems {
    let mut reasons = Problems::new();
    if !has_reasons(operation) {
        return reasons;
    }
    let of_session: &[&str] = if operation.access == Access::Session { &["not_logged_in"] } else { &[] };
    let of_body: &[&str] = if operation.body.is_some() { OPEN_BODY } else { &[] };
    for name in [OPEN, of_session, of_body, operation.refusals].concat() {
        let status = Reason::ALL.iter().find(|reason| reason.as_str() == name).map(|reason| reason.status().as_u16());
        reasons.entry(status.unwrap_or_default()).or_default().insert(name);
    }
    reasons
}

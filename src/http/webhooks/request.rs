//! The bodies of `POST /v1/webhooks`, `PATCH /v1/webhooks/{id}` and those that have only a reason.

use crate::http::events::list::ENTITY_FACTS;
use crate::http::extract::json_object::Form;
use crate::http::orders::request::{is_noted, plain};
use crate::http::problem::{Error, FieldProblem};
use crate::ids::MerchantKey;
use crate::ops::webhooks::{Change, NewEndpoint};
use crate::store::EndpointFormat;
use crate::webhooks::address::MAX_BYTES;

const TEXT_MAX_BYTES: usize = 500;

/// A new endpoint, and the merchant it names.
pub fn parse_new(body: &[u8]) -> Result<(impl FnOnce(MerchantKey) -> NewEndpoint, Option<String>), Error> {
    let mut form = Form::parse(body)?;
    let merchant = form.text("merchant");
    let format = form.parsed("format", |text| EndpointFormat::parse(&text).ok_or("must be events, wecom or mail"));
    let format = format.unwrap_or(EndpointFormat::Events);
    let url = plain(&mut form, "url", MAX_BYTES);
    let description = plain(&mut form, "description", TEXT_MAX_BYTES).unwrap_or_default();
    let event_types = event_types(&mut form).unwrap_or_default();
    let reason = plain(&mut form, "reason", TEXT_MAX_BYTES).unwrap_or_default();
    if url.is_none() && !is_noted(&form, "url") {
        form.problem("url", "is required");
    }
    let problems = form.finish();
    match url {
        Some(url) if problems.is_empty() => {
            let new = move |merchant| NewEndpoint { merchant, format, url, description, event_types, reason };
            Ok((new, merchant))
        }
        _ => Err(Error::Invalid(problems)),
    }
}

/// What changes of an endpoint.
pub fn parse_change(body: &[u8]) -> Result<Change, Error> {
    let mut form = Form::parse(body)?;
    let change = Change {
        url: plain(&mut form, "url", MAX_BYTES),
        description: description(&mut form),
        event_types: event_types(&mut form),
        is_enabled: form.parsed("state", |text| match text.as_str() {
            "enabled" => Ok(true),
            "disabled" => Ok(false),
            _ => Err("must be enabled or disabled"),
        }),
        reason: plain(&mut form, "reason", TEXT_MAX_BYTES).unwrap_or_default(),
    };
    let mut problems = form.finish();
    let Change { url, description, event_types, is_enabled, .. } = &change;
    let is_any = url.is_some() || description.is_some() || event_types.is_some() || is_enabled.is_some();
    if problems.is_empty() && !is_any {
        problems.push(FieldProblem::member("", "must have one of url, description, events, state"));
    }
    if problems.is_empty() { Ok(change) } else { Err(Error::Invalid(problems)) }
}

/// The reason of a body that may be left out.
pub fn parse_reason(body: &[u8]) -> Result<String, Error> {
    if body.is_empty() {
        return Ok(String::new());
    }
    let mut form = Form::parse(body)?;
    let reason = plain(&mut form, "reason", TEXT_MAX_BYTES).unwrap_or_default();
    let problems = form.finish();
    if problems.is_empty() { Ok(reason) } else { Err(Error::Invalid(problems)) }
}

/// An empty one is one, too.
fn description(form: &mut Form<'_>) -> Option<String> {
    let text = form.text("description")?;
    let is_plain = text.len() <= TEXT_MAX_BYTES && !text.chars().any(char::is_control);
    if !is_plain {
        form.problem("description", format!("must be at most {TEXT_MAX_BYTES} bytes without control characters"));
    }
    is_plain.then_some(text)
}

/// Whole types of `order.paid` or `wxpay.order.paid.v1`; all for an empty list.
fn event_types(form: &mut Form<'_>) -> Option<Vec<String>> {
    let raw = form.raw("events")?;
    let known = |name: &String| {
        let short = name.trim_start_matches("wxpay.").trim_end_matches(".v1");
        ENTITY_FACTS.contains(&short).then(|| format!("wxpay.{short}.v1"))
    };
    let names = serde_json::from_str::<Vec<String>>(raw.get()).ok();
    let types = names.and_then(|names| names.iter().map(known).collect::<Option<Vec<_>>>());
    match types {
        Some(mut types) => {
            types.sort_unstable();
            types.dedup();
            Some(types)
        }
        None => {
            form.problem("events", format!("must be a list of event types; known are {}", ENTITY_FACTS.join(", ")));
            None
        }
    }
}

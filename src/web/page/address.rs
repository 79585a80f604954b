//! The address of a page as a parameter, in whatever coding a front end gives it.
//!
//! `encodeURIComponent`, once, is right. Tutorials append `location.href` as it is, and shared links have parameters of
//! their own (`?from=singlemessage&isappinstalled=0`), which a query parser takes for the request's. So an address that
//! was not encoded is taken raw, to the end of the query: WeChat signs what the browser shows. Only where a request's
//! own parameters stand before it and in it as well, nothing says which are whose.

use axum::http::Uri;
use url::form_urlencoded;

use crate::web::envelope::Failure;
use crate::web::parameters::Parameters;

/// A parameter of the request itself, and whether a value can be one of its values.
pub type Own<'a> = (&'static str, &'a dyn Fn(&str) -> bool);

/// What to do about an address that has no certain end.
const ENCODE: &str = "encode once with encodeURIComponent";

/// The parameters of a request that has a page's address in one of `names`, beside `own`. The name of an address that
/// was given undecoded is the second result: it may have lost an end that no one can see.
pub fn parameters(
    uri: &Uri,
    names: &[&'static str],
    own: &[Own<'_>],
) -> Result<(Parameters, Option<&'static str>), Failure> {
    let query = uri.query().unwrap_or_default();
    let segments: Vec<&str> = query.split('&').collect();
    let found = segments.iter().enumerate().find_map(|(at, segment)| {
        let (name, value) = segment.split_once('=')?;
        let name = names.iter().find(|n| **n == name)?;
        begins_raw(value).then_some((at, *name, value))
    });
    let Some((at, name, first)) = found else { return Ok((decoded(Parameters::of(uri), names), None)) };
    if !first.contains('?') {
        // Without a query of its own, the next parameter is the request's.
        let pairs = segments.iter().enumerate().flat_map(|(i, segment)| match i == at {
            true => vec![(name.to_owned(), without_query(first))],
            false => pairs(segment),
        });
        return Ok((Parameters::from_pairs(pairs.collect()), None));
    }
    let (before, from) = segments.split_at(at);
    let is_own = |segment: &&str| own.iter().any(|(own, _)| *own == name_of(segment));
    let (mut end, inside) = (from.len(), from.iter().skip(1));
    if before.iter().any(|segment| is_own(&segment)) && inside.clone().any(|segment| is_own(&segment)) {
        return Err(Failure::bad_parameter(name, ENCODE));
    }
    // What can be nothing but the request's own, at the very end.
    let is_certain = |segment: &str| {
        own.iter().any(|(own, fits)| *own == name_of(segment) && fits(segment.split_once('=').map_or("", |(_, v)| v)))
    };
    while end > 1 && from.get(end - 1).is_some_and(|segment| is_certain(segment)) {
        end -= 1;
    }
    let address = from[..end].join("&").split_off(name.len() + 1);
    let others = before.iter().chain(&from[end..]).flat_map(|segment| pairs(segment));
    let all = others.chain([(name.to_owned(), address)]).collect();
    Ok((Parameters::from_pairs(all), Some(name)))
}

/// The refusal of an undecoded address where the page that asks is at another one.
pub fn cut_off(name: &'static str) -> Failure {
    Failure::bad_parameter(name, format!("{ENCODE}: the page that asks (Referer) is at another address"))
}

fn name_of(segment: &str) -> &str {
    segment.split_once('=').map_or(segment, |(name, _)| name)
}

fn pairs(segment: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(segment.as_bytes()).into_owned().collect()
}

fn begins_raw(value: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| begins(value, scheme))
}

fn begins(text: &str, with: &str) -> bool {
    text.get(..with.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(with))
}

/// Some clients encode only what separates parameters: then the rest of the address is encoded, too.
fn without_query(value: &str) -> String {
    let upper = value.to_ascii_uppercase();
    let encoded = ["%25", "%26", "%3D", "%3F", "%23"].iter().any(|code| upper.contains(code));
    if encoded { percent_decoded(value) } else { value.to_owned() }
}

/// The same, with what was encoded more than once decoded as often.
fn decoded(parameters: Parameters, names: &[&'static str]) -> Parameters {
    /// More than any chain of front ends does.
    const MOST: usize = 3;
    parameters.map(|name, mut value| {
        if !names.contains(&name) {
            return value;
        }
        for _ in 0..MOST {
            let again = ["http%3a", "https%3a", "http%253a", "https%253a"].iter().any(|coded| begins(&value, coded));
            if !again {
                break;
            }
            value = percent_decoded(&value);
        }
        value
    })
}

/// `encodeURIComponent` never writes `+`, so one is a plus sign.
fn percent_decoded(text: &str) -> String {
    let escaped = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(escaped.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}

//! Evidence without openids: the fact and WeChat's own words with the payer's name in the openid's place.
//!
//! Who has the openid and the key can put it back and check WeChat's signature.

use serde::Deserialize;

use super::key::{Payers, is_name};
use super::words::replaced;

/// Elements of WeChat's messages that name a payer.
const ELEMENTS: [&str; 2] = ["openid", "sub_openid"];

#[derive(Deserialize)]
struct OfPayer {
    openid: Option<String>,
}

/// A fact as JSON, and WeChat's own words, with no openid.
pub fn without_openids(payers: &Payers, fact: String, raw: Option<String>) -> (String, Option<String>) {
    let (mut fact, mut raw) = (fact, raw);
    for openid in openids(&fact, raw.as_deref()) {
        let name = payers.name(&openid);
        fact = replaced(&fact, &openid, &name);
        raw = raw.map(|raw| replaced(&raw, &openid, &name));
    }
    (fact, raw)
}

/// The openids that a fact and WeChat's words have.
pub fn openids(fact: &str, raw: Option<&str>) -> Vec<String> {
    // Most facts name no payer.
    let of_fact = fact.contains("\"openid\":\"").then(|| serde_json::from_str::<OfPayer>(fact).ok()?.openid).flatten();
    let of_raw = raw.into_iter().flat_map(|raw| ELEMENTS.iter().filter_map(|element| value(raw, element)));
    let mut found: Vec<String> = of_fact.into_iter().chain(of_raw).collect();
    found.retain(|openid| !openid.is_empty() && !is_name(openid));
    found.sort_unstable();
    found.dedup();
    found
}

/// The value of an element as WeChat writes it, with CDATA or without.
fn value(xml: &str, element: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{element}>"))?;
    let (value, _) = rest.split_once(&format!("</{element}>"))?;
    let plain = value.strip_prefix("<![CDATA[").and_then(|text| text.strip_suffix("]]>")).unwrap_or(value);
    Some(plain.trim().to_owned())
}

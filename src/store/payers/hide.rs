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
    let mut found = payers(fact, raw);
    found.retain(|openid| !openid.is_empty() && !is_name(openid));
    found.sort_unstable();
    found.dedup();
    found
}

/// The payers that a fact and WeChat's words have, by openid or by name.
pub fn payers(fact: &str, raw: Option<&str>) -> Vec<String> {
    // Most facts name no payer.
    let of_fact = fact.contains("\"openid\":\"").then(|| serde_json::from_str::<OfPayer>(fact).ok()?.openid).flatten();
    of_fact.into_iter().chain(raw.into_iter().flat_map(payers_in)).collect()
}

/// The payers that a message of WeChat's has, by openid or by name.
pub fn payers_in(xml: &str) -> Vec<String> {
    ELEMENTS.iter().flat_map(|element| values(xml, element)).collect()
}

/// The values of an element as WeChat writes it, with CDATA or without.
pub fn values<'x>(xml: &'x str, element: &str) -> impl Iterator<Item = String> + use<'x> {
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (value, behind) = rest.split_once(&begin)?.1.split_once(&end)?;
        rest = behind;
        let plain = value.trim();
        let plain = plain.strip_prefix("<![CDATA[").and_then(|text| text.strip_suffix("]]>")).unwrap_or(plain);
        Some(plain.trim().to_owned())
    })
}

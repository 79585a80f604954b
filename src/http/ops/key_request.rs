//! The body of `POST /v1/ops/keys`.

use crate::clock::Timestamp;
use crate::config::{ApiKey, Config, Merchants, Scope};
use crate::http::extract::auth::Caller;
use crate::http::extract::json_object::Form;
use crate::http::orders::request::{is_noted, plain};
use crate::http::problem::Error;
use crate::ids::MerchantKey;
use crate::money::Fen;
use crate::ops::keys::NewKey;

const REASON_MAX_BYTES: usize = 500;
const NAME_MAX_BYTES: usize = 64;
/// The largest refund cap, as in the configuration.
const CAP_MAX: i64 = i64::MAX / 4;

pub fn parse(body: &[u8], config: &Config, caller: &Caller, now: Timestamp) -> Result<NewKey, Error> {
    let mut form = Form::parse(body)?;
    let name = form.parsed("name", |text| {
        let is_word = (1..=NAME_MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if is_word { Ok(text) } else { Err("must be 1 to 64 visible ASCII characters") }
    });
    let of_client = form.parsed("client", |text| if text.is_empty() { Err("must be a key's id") } else { Ok(text) });
    let scopes = scopes(&mut form);
    let merchants = merchants(&mut form, config, caller);
    let expires_at = form.parsed("expires_at", |text| {
        let time = Timestamp::parse_rfc3339(&text).map_err(|_| "must be a time like 2026-01-02T03:04:05Z")?;
        if time > now { Ok(time) } else { Err("must be in the future") }
    });
    let cap = number(&mut form, "refund_cap_fen_per_day", CAP_MAX).map(Fen::from_i64);
    let rate = number(&mut form, "rate_limit_per_second", ApiKey::RATE_MAX).and_then(|n| u32::try_from(n).ok());
    let reason = plain(&mut form, "reason", REASON_MAX_BYTES).filter(|reason| !reason.trim().is_empty());
    for (member, is_there) in [("name", name.is_some()), ("scopes", scopes.is_some()), ("reason", reason.is_some())] {
        if !is_there && !is_noted(&form, member) {
            form.problem(member, "is required");
        }
    }
    let problems = form.finish();
    match (name, scopes, merchants, reason) {
        (Some(name), Some(scopes), Some(merchants), Some(reason)) if problems.is_empty() => Ok(NewKey {
            name,
            of_client,
            scopes,
            merchants,
            expires_at,
            refund_cap_per_day: cap,
            rate_limit_per_second: rate,
            reason,
        }),
        _ => Err(Error::Invalid(problems)),
    }
}

fn scopes(form: &mut Form<'_>) -> Option<Vec<Scope>> {
    let names: Option<Vec<String>> = serde_json::from_str(form.raw("scopes")?.get()).ok();
    let scopes = names.and_then(|names| names.iter().map(|name| Scope::parse(name)).collect::<Option<Vec<_>>>());
    let scopes = scopes.filter(|scopes| !scopes.is_empty());
    if scopes.is_none() {
        form.problem("scopes", "must be a list of some of orders, refunds, finance, ops, admin");
    }
    scopes
}

/// `"all"`, a list, or the only merchant where there is no other. A merchant that the caller does not see is as one
/// that does not exist.
fn merchants(form: &mut Form<'_>, config: &Config, caller: &Caller) -> Option<Merchants> {
    let seen = || config.merchants.iter().map(|merchant| &merchant.key).filter(|key| caller.sees(key));
    let Some(raw) = form.raw("merchants") else {
        if config.merchants.len() == 1 {
            return Some(Merchants::Only(seen().cloned().collect()));
        }
        form.problem("merchants", "is required where there are several merchants: a list of their keys, or \"all\"");
        return None;
    };
    if raw.get() == "\"all\"" {
        return Some(Merchants::All);
    }
    let names: Option<Vec<String>> = serde_json::from_str(raw.get()).ok().filter(|names: &Vec<_>| !names.is_empty());
    let find = |name: &String| seen().find(|key| key.as_str() == name).cloned();
    let keys = names.and_then(|names| names.iter().map(find).collect::<Option<Vec<MerchantKey>>>());
    if keys.is_none() {
        form.problem("merchants", "must be \"all\", or a list of merchants' keys that are configured");
    }
    keys.map(Merchants::Only)
}

fn number(form: &mut Form<'_>, name: &str, most: i64) -> Option<i64> {
    let number = form.raw(name)?.get().parse::<i64>().ok().filter(|n| (1..=most).contains(n));
    if number.is_none() {
        form.problem(name, format!("must be a whole number from 1 to {most}"));
    }
    number
}

//! API keys: who calls and what they may do.
//!
//! Only hashes are configured; a presented key is hashed and compared in constant time with every one of them, so that
//! neither the place nor the beginning of a match can be measured.

use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;

use crate::config::{ApiKey, Config, Merchant, Scope};
use crate::http::problem::{Error, FieldProblem};
use crate::ids::MerchantKey;
use crate::secret::sha256_hex;

/// The token of `Authorization: Bearer …`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Whether two secrets are equal; how long it takes tells at most their lengths.
pub fn same_secret(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// The API key that was presented, if it is one of ours.
pub fn api_key<'a>(config: &'a Config, headers: &HeaderMap) -> Option<&'a ApiKey> {
    let presented = sha256_hex(bearer(headers)?.as_bytes());
    // No early end: every key is compared.
    config.api_keys.iter().fold(None, |found, key| if same_secret(&key.hash, &presented) { Some(key) } else { found })
}

/// A caller that may do what it asks.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Its key.
    pub key: &'a ApiKey,
}

/// Lets callers through that have `scope`.
pub fn authorize<'a>(config: &'a Config, headers: &HeaderMap, scope: Scope) -> Result<Caller<'a>, Error> {
    let key = api_key(config, headers).ok_or(Error::Unauthorized)?;
    if key.scopes.contains(&scope) { Ok(Caller { key }) } else { Err(Error::Forbidden(scope)) }
}

impl Caller<'_> {
    /// Whether it may see this merchant.
    pub fn sees(&self, merchant: &MerchantKey) -> bool {
        self.key.merchants.is_empty() || self.key.merchants.contains(merchant)
    }

    /// The merchant it means: the named one, or the only one it sees. `problem` is what is said when it must name one.
    pub fn merchant<'c>(
        &self,
        config: &'c Config,
        named: Option<&str>,
        problem: impl FnOnce(&'static str) -> FieldProblem,
    ) -> Result<&'c Merchant, Error> {
        if let Some(name) = named {
            return config.merchant(name).filter(|m| self.sees(&m.key)).ok_or(Error::NotFound("merchant"));
        }
        let mut seen = config.merchants.iter().filter(|m| self.sees(&m.key));
        match (seen.next(), seen.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => Err(Error::Invalid(vec![problem("is required where there are several merchants")])),
            (None, _) => Err(Error::NotFound("merchant")),
        }
    }
}

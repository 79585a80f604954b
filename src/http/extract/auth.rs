//! API keys: who calls and what they may do.
//!
//! Only hashes are configured; a presented key is hashed and compared in constant time with every one of them, so that
//! neither the place nor the beginning of a match can be measured.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;

use crate::config::{ApiKey, Config, Merchant, Scope};
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::{HttpShared, HttpState};
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

fn api_key<'a>(config: &'a Config, headers: &HeaderMap) -> Option<&'a ApiKey> {
    let presented = sha256_hex(bearer(headers)?.as_bytes());
    // No early end: every key is compared.
    config.api_keys.iter().fold(None, |found, key| if same_secret(&key.hash, &presented) { Some(key) } else { found })
}

/// A caller that may do what it asks. Only this file makes one: what takes a `Caller` cannot be reached without a key.
#[derive(Debug, Clone)]
pub struct Caller {
    key: ApiKey,
}

/// The caller of an API key, if one of ours was presented and may do this.
pub fn caller(config: &Config, headers: &HeaderMap, scope: Scope) -> Result<Caller, Error> {
    let key = api_key(config, headers).ok_or(Error::Unauthorized)?;
    if key.scopes.contains(&scope) { Ok(Caller { key: key.clone() }) } else { Err(Error::Forbidden(scope)) }
}

/// A scope as a type, for [`Authorized`].
pub trait Permission {
    /// The scope.
    const SCOPE: Scope;
}

/// Place and read orders.
pub struct Orders;
/// Read events.
pub struct Finance;
/// Read the service's own state.
pub struct Ops;

impl Permission for Orders {
    const SCOPE: Scope = Scope::Orders;
}

impl Permission for Finance {
    const SCOPE: Scope = Scope::Finance;
}

impl Permission for Ops {
    const SCOPE: Scope = Scope::Ops;
}

/// Extractor: the caller, with the scope `P`. Every route under `/v1` takes one before anything else of the request.
pub struct Authorized<P> {
    caller: Caller,
    permission: PhantomData<P>,
}

impl<P> Deref for Authorized<P> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<P: Permission> FromRequestParts<Arc<HttpShared>> for Authorized<P> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<HttpShared>) -> Result<Authorized<P>, Error> {
        let app = HttpState::of_request(&mut parts.extensions, shared);
        Ok(Authorized { caller: caller(&app.config, &parts.headers, P::SCOPE)?, permission: PhantomData })
    }
}

impl Caller {
    /// The name of its key, which stands in evidence and idempotency keys.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// The merchants it may see; empty: all.
    pub fn merchants(&self) -> &[MerchantKey] {
        &self.key.merchants
    }

    /// Whether it may see this merchant.
    pub fn sees(&self, merchant: &MerchantKey) -> bool {
        self.key.merchants.is_empty() || self.key.merchants.contains(merchant)
    }

    /// The merchants whose rows a list shows it: the named one, or all that it sees; empty: all.
    pub fn among(&self, config: &Config, named: Option<&str>) -> Result<Vec<MerchantKey>, Error> {
        let Some(name) = named else { return Ok(self.merchants().to_vec()) };
        let merchant = config.merchant(name).filter(|m| self.sees(&m.key)).ok_or(Error::NotFound("merchant"))?;
        Ok(vec![merchant.key.clone()])
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

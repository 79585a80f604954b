//! API keys: who calls and what they may do.
//!
//! Only hashes are configured; a presented key is hashed and compared in constant time with every one of them, so that
//! neither the place nor the beginning of a match can be measured.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;

use super::client_addr::client_ip;
use crate::clock::Timestamp;
use crate::config::{ApiKey, Config, Merchant, Merchants, Scope};
use crate::http::middleware::remote_ip;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::{HttpShared, HttpState};
use crate::ids::MerchantKey;
use crate::secret::sha256_hex;
use crate::store::AuditEntry;

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

fn api_key<'a>(config: &'a Config, headers: &HeaderMap, now: Timestamp) -> Option<&'a ApiKey> {
    let presented = sha256_hex(bearer(headers)?.as_bytes());
    let hashes = config.api_keys.iter().flat_map(|key| key.hashes.iter().map(move |hash| (key, hash)));
    // No early end: every hash is compared.
    hashes.fold(None, |found, (key, hash)| {
        let counts = hash.until.is_none_or(|until| now <= until);
        if same_secret(&hash.sha256, &presented) && counts { Some(key) } else { found }
    })
}

/// A caller that may do what it asks. Only this file makes one: what takes a `Caller` cannot be reached without a key.
#[derive(Debug, Clone)]
pub struct Caller {
    key: ApiKey,
}

/// The caller of an API key, if one that counts at `now` was presented and may do this.
pub fn caller(config: &Config, headers: &HeaderMap, scope: Scope, now: Timestamp) -> Result<Caller, Error> {
    let key = api_key(config, headers, now).ok_or(Error::Unauthorized)?;
    if key.scopes.contains(&scope) { Ok(Caller { key: key.clone() }) } else { Err(Error::Forbidden(scope)) }
}

/// A scope as a type, for [`Authorized`].
pub trait Permission {
    /// The scope.
    const SCOPE: Scope;
}

/// Place and read orders.
pub struct Orders;
/// Request and read refunds.
pub struct Refunds;
/// Read events.
pub struct Finance;
/// Read the service's own state.
pub struct Ops;

impl Permission for Orders {
    const SCOPE: Scope = Scope::Orders;
}

impl Permission for Refunds {
    const SCOPE: Scope = Scope::Refunds;
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
        let caller = caller(&app.config, &parts.headers, P::SCOPE, app.clock.now());
        let caller = caller.inspect_err(|error| note(&app, parts, error))?;
        Ok(Authorized { caller, permission: PhantomData })
    }
}

/// Notes that a request is refused for its key.
fn note(app: &HttpState, parts: &Parts, error: &Error) {
    let Some(presented) = bearer(&parts.headers) else { return app.refused_keys.missing() };
    let now = app.clock.now();
    let client = client_ip(remote_ip(&parts.extensions), &parts.headers, &app.config.server.trusted_proxies);
    let key = api_key(&app.config, &parts.headers, now);
    let reason = if key.is_some() { "scope" } else { "unknown" };
    app.refused_keys.refused(reason, client, || {
        let route = parts.extensions.get::<MatchedPath>().map_or("-", MatchedPath::as_str);
        AuditEntry {
            at: now,
            actor: key.map(|key| key.name.clone()).unwrap_or_default(),
            actor_id: key.map(|key| key.id.clone()),
            remote_addr: client.to_string(),
            action: "api_key.refuse",
            merchant: None,
            order_no: None,
            transaction_id: None,
            subject: Some(format!("sha256:{}", &sha256_hex(presented.as_bytes())[..12])),
            reason: format!("{} {route}", parts.method),
            result: match error {
                Error::Forbidden(_) => "forbidden".to_owned(),
                _ => "unauthorized".to_owned(),
            },
        }
    });
}

impl Caller {
    /// The name of its key, which stands in evidence.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// The client, whatever its key and its name: idempotency keys belong to it.
    pub fn id(&self) -> &str {
        &self.key.id
    }

    /// The merchants it may see; nothing where it sees all.
    pub fn merchants(&self) -> Option<&[MerchantKey]> {
        match &self.key.merchants {
            Merchants::All => None,
            Merchants::Only(merchants) => Some(merchants),
        }
    }

    /// Whether it may see this merchant.
    pub fn sees(&self, merchant: &MerchantKey) -> bool {
        self.key.merchants.contains(merchant)
    }

    /// The merchants whose rows a list shows it: the named one, or those that it sees; nothing where it sees all.
    pub fn among(&self, config: &Config, named: Option<&str>) -> Result<Option<Vec<MerchantKey>>, Error> {
        let Some(name) = named else { return Ok(self.merchants().map(<[MerchantKey]>::to_vec)) };
        let merchant = config.merchant(name).filter(|m| self.sees(&m.key)).ok_or(Error::NotFound("merchant"))?;
        Ok(Some(vec![merchant.key.clone()]))
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

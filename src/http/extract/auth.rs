//! API keys: who calls and what they may do.
//!
//! Only hashes are configured or stored; a presented key is hashed and compared in constant time with every one that is
//! configured, so that neither the place nor the beginning of a match can be measured. Keys of the database are found
//! by their hash in memory. No key whose hash was revoked is accepted, wherever it stands.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;

use super::client_addr::client_ip;
use crate::clock::Timestamp;
use crate::config::{ApiKey, Config, KeyHash, Merchant, Merchants, Scope};
use crate::http::middleware::remote_ip;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::{HttpShared, HttpState};
use crate::ids::MerchantKey;
use crate::ops::keys::Authority;
use crate::secret::sha256_hex;
use crate::store::{AuditEntry, RefundCap};

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

/// A key that counts, and the hash under which it was presented.
struct Presented {
    key: ApiKey,
    hash: KeyHash,
}

/// The key that was presented, if it counts now.
async fn presented(app: &HttpState, headers: &HeaderMap) -> Result<Option<Presented>, Error> {
    let Some(token) = bearer(headers) else { return Ok(None) };
    of_hash(app, &app.config, &sha256_hex(token.as_bytes())).await
}

/// The key of this hash, if it counts now.
async fn of_hash(app: &HttpShared, config: &Config, sha256: &str) -> Result<Option<Presented>, Error> {
    let known = app.keys.known().await?;
    let now = app.clock.now();
    let hashes = config.api_keys.iter().flat_map(|key| key.hashes.iter().map(move |hash| (key, hash)));
    // No early end: every hash is compared.
    let configured = hashes.fold(
        None,
        |found, (key, hash)| {
            if same_secret(&hash.sha256, sha256) { Some((key, hash)) } else { found }
        },
    );
    let stored = || known.key(sha256).and_then(|key| Some((key, key.hashes.first()?)));
    let found = configured.or_else(stored).filter(|(_, hash)| hash.until.is_none_or(|until| now <= until));
    let found = found.filter(|_| !known.is_revoked(sha256));
    Ok(found.map(|(key, hash)| Presented { key: key.clone(), hash: hash.clone() }))
}

/// A caller that may do what it asks. Only this file makes one: what takes a `Caller` cannot be reached without a key.
#[derive(Debug, Clone)]
pub struct Caller {
    key: ApiKey,
    /// The hash under which it presented the key, and when that ends.
    hash: KeyHash,
}

/// The caller of an API key, if one that counts now was presented, may do this, and is within its rate limit.
pub async fn caller(app: &HttpState, headers: &HeaderMap, scope: Scope) -> Result<Caller, Error> {
    let without = || if bearer(headers).is_some() { Error::UnknownKey } else { Error::Unauthorized };
    let Presented { key, hash } = presented(app, headers).await?.ok_or_else(without)?;
    app.keys.used(&hash.sha256, app.clock.now());
    if !app.keys.may_serve(&key) {
        app.refused_keys.over_rate();
        return Err(Error::RateLimited);
    }
    if key.scopes.contains(&scope) { Ok(Caller { key, hash }) } else { Err(Error::Forbidden(scope)) }
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
/// Make and revoke API keys.
pub struct Admin;

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

impl Permission for Admin {
    const SCOPE: Scope = Scope::Admin;
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
        match caller(&app, &parts.headers, P::SCOPE).await {
            Ok(caller) => Ok(Authorized { caller, permission: PhantomData }),
            Err(error) => {
                note(&app, parts, &error).await;
                Err(error)
            }
        }
    }
}

/// Notes that a request is refused for its key.
async fn note(app: &HttpState, parts: &Parts, error: &Error) {
    let (reason, result) = match error {
        Error::Unauthorized | Error::UnknownKey => ("unknown", "unauthorized"),
        Error::Forbidden(_) => ("scope", "forbidden"),
        _ => return,
    };
    let Some(token) = bearer(&parts.headers) else { return app.refused_keys.missing() };
    let client = client_ip(remote_ip(&parts.extensions), &parts.headers, &app.config.server.trusted_proxies);
    let key = presented(app, &parts.headers).await.ok().flatten().map(|presented| presented.key);
    let now = app.clock.now();
    app.refused_keys.refused(reason, (client, now), || {
        let route = parts.extensions.get::<MatchedPath>().map_or("-", MatchedPath::as_str);
        AuditEntry {
            at: now,
            actor: key.as_ref().map(|key| key.name.clone()).unwrap_or_default(),
            actor_id: key.map(|key| key.id),
            remote_addr: client.to_string(),
            action: "api_key.refuse",
            merchant: None,
            order_no: None,
            transaction_id: None,
            subject: Some(format!("sha256:{}", &sha256_hex(token.as_bytes())[..12])),
            reason: format!("{} {route}", parts.method),
            result: result.to_owned(),
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

    /// The key that it presented, whatever client it is of.
    pub fn key_id(&self) -> &str {
        &self.key.key_id
    }

    /// Whether its key has this scope, too.
    pub fn may(&self, scope: Scope) -> bool {
        self.key.scopes.contains(&scope)
    }

    /// Whether its key still counts, has this scope and sees this merchant: for what outlasts its request.
    pub async fn still_may(&self, app: &HttpShared, scope: Scope, merchant: &MerchantKey) -> bool {
        let found = of_hash(app, &app.snapshot(), &self.hash.sha256).await;
        found.is_ok_and(|found| {
            found.is_some_and(|Presented { key, .. }| key.scopes.contains(&scope) && key.merchants.contains(merchant))
        })
    }

    /// What it may hand on to a key that it makes.
    pub fn authority(&self) -> Authority<'_> {
        Authority {
            scopes: &self.key.scopes,
            merchants: &self.key.merchants,
            until: self.hash.until,
            has_refund_cap: self.key.refund_cap_per_day.is_some(),
            rate_limit_per_second: self.key.rate_limit_per_second,
        }
    }

    /// What it may ask to be refunded on the day of `now`.
    pub fn refund_cap(&self, now: Timestamp) -> Option<RefundCap> {
        let cap = self.key.refund_cap_per_day?;
        Some(RefundCap { api_key: self.key.id.clone(), day: now.to_beijing()[..8].to_owned(), cap })
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

    /// Whether it may see every merchant there is: what tells of all of them at once is for such keys.
    pub fn sees_all(&self, config: &Config) -> bool {
        config.merchants.iter().all(|merchant| self.sees(&merchant.key))
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

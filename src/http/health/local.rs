//! Who may see more than whether the process is ready.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use crate::http::extract::auth::{Authorized, Ops};
use crate::http::middleware::remote_ip;
use crate::http::problem::Error;
use crate::http::state::{HttpShared, HttpState};

/// What a proxy adds to a request that it forwards.
const FORWARDING: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Extractor: a process of this host, or a caller with the scope `ops` who sees every merchant: metrics and checks name
/// them all.
pub struct Insider;

impl FromRequestParts<Arc<HttpShared>> for Insider {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<HttpShared>) -> Result<Insider, Error> {
        if is_of_this_host(parts) {
            return Ok(Insider);
        }
        if sees_all(parts, shared).await? { Ok(Insider) } else { Err(Error::NotOfAllMerchants) }
    }
}

/// Extractor: [`Insider`], or none without a key and for one who sees only some merchants.
pub struct MaybeInsider(pub Option<Insider>);

impl FromRequestParts<Arc<HttpShared>> for MaybeInsider {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<HttpShared>) -> Result<MaybeInsider, Error> {
        if is_of_this_host(parts) {
            return Ok(MaybeInsider(Some(Insider)));
        }
        let is_insider = parts.headers.contains_key(header::AUTHORIZATION) && sees_all(parts, shared).await?;
        Ok(MaybeInsider(is_insider.then_some(Insider)))
    }
}

/// Whether the caller, who needs the scope `ops`, may see every merchant.
async fn sees_all(parts: &mut Parts, shared: &Arc<HttpShared>) -> Result<bool, Error> {
    let caller = Authorized::<Ops>::from_request_parts(parts, shared).await?;
    Ok(caller.sees_all(&HttpState::of_request(&mut parts.extensions, shared).config))
}

fn is_of_this_host(parts: &Parts) -> bool {
    remote_ip(&parts.extensions).is_loopback() && !is_forwarded(&parts.headers)
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDING.iter().any(|name| headers.contains_key(*name))
}

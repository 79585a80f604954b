//! Who asks for a page.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;

use super::fault::Fault;
use super::state::{Console, ConsoleShared};
use crate::config::Config;
use crate::http::extract::auth::same_secret;
use crate::http::extract::cookie;
use crate::ids::MerchantKey;
use crate::ops::Operator;
use crate::secret::sha256_hex;
use crate::store::{Access, ConsoleSession, Right};

/// Extractor: the user of a session. Every page takes one before anything else; without a session it leads to the
/// login.
#[derive(Debug, Clone)]
pub struct Viewer {
    pub session: ConsoleSession,
    client: IpAddr,
    csrf: String,
    /// What is stored of the session's token.
    hash: String,
}

impl Viewer {
    pub fn name(&self) -> &str {
        &self.session.user_name
    }

    pub fn access(&self) -> &Access {
        &self.session.access
    }

    /// The merchants that are shown; none where all are.
    pub fn merchants(&self) -> Option<&[MerchantKey]> {
        self.session.access.merchants.as_deref()
    }

    /// Whether this merchant is shown.
    pub fn sees(&self, merchant: &MerchantKey) -> bool {
        self.merchants().is_none_or(|merchants| merchants.contains(merchant))
    }

    /// Whether every merchant that is configured is shown.
    pub fn sees_all(&self, config: &Config) -> bool {
        config.merchants.iter().all(|merchant| self.sees(&merchant.key))
    }

    /// The merchants whose rows a list shows: the named one, or all that are shown. A merchant that is not shown is as
    /// if it did not exist.
    pub fn among(&self, named: Option<&str>) -> Result<Option<Vec<MerchantKey>>, Fault> {
        let Some(name) = named else { return Ok(self.merchants().map(<[_]>::to_vec)) };
        let merchant = MerchantKey::parse(name).ok().filter(|merchant| self.sees(merchant));
        Ok(Some(vec![merchant.ok_or(Fault::NotFound)?]))
    }

    /// The names of the configured merchants that are shown, to choose from.
    pub fn merchant_names(&self, config: &Config) -> Vec<String> {
        let shown = config.merchants.iter().filter(|merchant| self.sees(&merchant.key));
        shown.map(|merchant| merchant.key.to_string()).collect()
    }

    /// Whether the user may do this.
    pub fn may(&self, right: Right) -> bool {
        self.session.access.has(right)
    }

    /// A fault where the user may not do this.
    pub fn require(&self, right: Right) -> Result<(), Fault> {
        if self.may(right) { Ok(()) } else { Err(Fault::Forbidden) }
    }

    /// As the one who asks for an operation, with the address that the request came from.
    pub fn operator(&self) -> Operator {
        let id = format!("user:{}", self.session.user_id);
        Operator {
            name: self.session.user_name.clone(),
            key: id.clone(),
            id,
            remote_addr: self.client.to_string(),
            merchants: self.session.access.merchants.clone(),
        }
    }

    /// Whether the session holds still and may see pages: of what lasts longer than a request.
    pub async fn holds(&self, app: &Console) -> Result<bool, Fault> {
        let session = app.store.console_session(&self.hash, app.clock.now()).await?;
        Ok(session.is_some_and(|session| session.access.has(Right::View) && session.access == self.session.access))
    }

    /// The hidden field `csrf` of every form.
    pub fn csrf(&self) -> &str {
        &self.csrf
    }

    /// Whether a form carries this session's token.
    pub fn is_csrf(&self, presented: &str) -> bool {
        same_secret(&self.csrf, presented)
    }
}

/// What is stored of a token.
pub fn token_hash(token: &str) -> String {
    sha256_hex(token.as_bytes())
}

impl FromRequestParts<Arc<ConsoleShared>> for Viewer {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<ConsoleShared>) -> Result<Viewer, Fault> {
        let app = Console::of_request(parts, shared);
        // Where a form leads cannot be loaded: after the login its user begins at the overview.
        let next = if parts.method == Method::GET { app.path.clone() } else { "/console".to_owned() };
        let Some(token) = cookie::get(&parts.headers, shared.jar.session()) else {
            return Err(Fault::Login { next });
        };
        let now = app.clock.now();
        let hash = token_hash(token);
        let Some(session) = app.store.console_session(&hash, now).await? else {
            return Err(Fault::Login { next });
        };
        if !session.access.has(Right::View) {
            return Err(Fault::Forbidden);
        }
        app.store.session_seen(&session, now).await?;
        // From the token itself, which the database does not hold.
        let csrf = sha256_hex(format!("csrf:{token}").as_bytes());
        Ok(Viewer { session, client: app.client, csrf, hash })
    }
}

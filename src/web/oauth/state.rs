//! Logins that wait for their return from WeChat: kept by the browser that began them, sealed.
//!
//! This is what makes `state` mean something: an answer of WeChat counts only in the browser that asked for it. Each
//! login has a cookie of its own, so that tabs that begin at once do not overwrite each other; a browser keeps the
//! newest few. A login stays after its return until its ten minutes are over, because WeChat opens the return address
//! twice now and then; that its state works with one code only is kept in the database.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::config::Config;
use crate::http::extract::auth::same_secret;
use crate::ids::AppKey;
use crate::sealed_box::{CannotSeal, SealKey};
use crate::secret::{Secret, sha256_hex};
use crate::web::cookies;
use crate::web::cookies::Jar;
use crate::web::envelope::{Failure, Reason};

/// What the cookies' names begin with, and what they are sealed for.
const LOGIN_COOKIE: &str = "wxpay_login";
/// How long a login may take.
const LIFETIME: Duration = Duration::from_secs(600);
/// Logins that a browser can have under way.
const MOST: usize = 4;
/// Bytes of all of them together: proxies refuse a request whose cookies are much longer than this.
const MAX_BYTES: usize = 4000;
/// Letters of the state's digest that tell the cookies apart.
const TAG: usize = 12;

/// One login under way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingLogin {
    /// Random; WeChat gives it back.
    pub state: String,
    /// Where the browser goes afterwards; on the allow-list when the login began.
    pub callback: String,
    /// `snsapi_base` or `snsapi_userinfo`.
    pub scope: String,
    /// With which app.
    pub app: AppKey,
    /// When it began.
    pub issued_at: Timestamp,
    /// How often it was begun again by itself.
    pub tries: u32,
}

/// The state opens the return to any holder, and the address may say who is paying for what.
impl fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingLogin").field("app", &self.app).field("tries", &self.tries).finish_non_exhaustive()
    }
}

/// Writes and reads the cookies.
#[derive(Debug)]
pub struct PendingLogins {
    key: SealKey,
    jar: Jar,
    /// What the names begin with, as browsers know them.
    name: String,
}

impl PendingLogins {
    /// Sealed under a key of the configured secret.
    pub fn new(secret: &Secret, config: &Config) -> Result<PendingLogins, CannotSeal> {
        let jar = Jar::new(&config.server.public_url);
        let name = format!("{}_", jar.name(LOGIN_COOKIE));
        Ok(PendingLogins { key: SealKey::derive(secret, "login")?, jar, name })
    }

    /// The login of this request's browser that `state` belongs to.
    pub fn find(&self, headers: &HeaderMap, state: &str, now: Timestamp) -> Option<PendingLogin> {
        let login = self.open(cookies::get(headers, &self.name_of(state))?, now)?;
        same_secret(&login.state, state).then_some(login)
    }

    /// How many logins this request's browser began in the last ten minutes, as far as it keeps them.
    pub fn under_way(&self, headers: &HeaderMap, now: Timestamp) -> usize {
        cookies::beginning(headers, &self.name).filter(|(_, value)| self.open(value, now).is_some()).count()
    }

    /// The cookie of a new login, and the ends of those that the request's browser has under way and that have to go.
    pub fn with(&self, headers: &HeaderMap, login: PendingLogin) -> Result<Vec<HeaderValue>, Failure> {
        let plain = serde_json::to_vec(&login).map_err(|e| Failure::because(Reason::Internal, e.to_string()))?;
        let sealed =
            self.key.seal(LOGIN_COOKIE, &plain).map_err(|e| Failure::because(Reason::Internal, e.to_string()))?;
        let mut under_way: Vec<(Option<Timestamp>, &str, usize)> = cookies::beginning(headers, &self.name)
            .map(|(name, value)| (self.open(value, login.issued_at).map(|login| login.issued_at), name, value.len()))
            .collect();
        // The newest first; what does not open, or is over, last.
        under_way.sort_by(|a, b| b.cmp(a));
        let mut lines = vec![self.jar.for_routes(&self.name_of(&login.state), LIFETIME).set(&sealed)?];
        let (mut count, mut bytes) = (1, sealed.len());
        for (begun, name, length) in under_way {
            (count, bytes) = (count + 1, bytes + length);
            if begun.is_none() || count > MOST || bytes > MAX_BYTES {
                lines.push(self.jar.for_routes(name, LIFETIME).end()?);
            }
        }
        Ok(lines)
    }

    fn open(&self, sealed: &str, now: Timestamp) -> Option<PendingLogin> {
        let plain = self.key.open(LOGIN_COOKIE, sealed).ok()?;
        let login: PendingLogin = serde_json::from_slice(&plain).ok()?;
        (now.since(login.issued_at) < LIFETIME).then_some(login)
    }

    fn name_of(&self, state: &str) -> String {
        let digest = sha256_hex(state.as_bytes());
        format!("{}{}", self.name, digest.get(..TAG).unwrap_or(&digest))
    }
}

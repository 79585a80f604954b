//! Logins that wait for their return from WeChat: kept by the browser that began them, sealed.
//!
//! This is what makes `state` mean something: an answer of WeChat counts only in the browser that asked for it. A browser may
//! have several tabs, so the cookie holds the newest few. A login stays here after its return until its ten minutes are
//! over, because WeChat opens the return address twice now and then; that its state works with one code only is kept in
//! the database.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::super::auth::same_secret;
use super::cookies::{self, Cookie};
use super::failure::{Failure, Reason};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::ids::AppKey;
use crate::seal::{CannotSeal, SealKey};
use crate::secret::Secret;

/// The cookie's name.
pub const LOGIN_COOKIE: &str = "wxpay_login";
/// How long a login may take.
const LIFETIME: Duration = Duration::from_secs(600);
/// Logins that a browser can have under way.
const MOST: usize = 4;
/// What is sealed must fit, in base64, into the 4,096 bytes that browsers keep of a cookie.
const MAX_BYTES: usize = 2700;

/// One login under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Writes and reads the cookie.
#[derive(Debug)]
pub struct PendingLogins {
    key: SealKey,
    secure: bool,
}

impl PendingLogins {
    /// Sealed under a key of the configured secret.
    pub fn new(secret: &Secret, config: &Config) -> Result<PendingLogins, CannotSeal> {
        let secure = config.server.public_url.starts_with("https://");
        Ok(PendingLogins { key: SealKey::derive(secret, "login")?, secure })
    }

    /// The login of this request's browser that `state` belongs to.
    pub fn find(&self, headers: &HeaderMap, state: &str, now: Timestamp) -> Option<PendingLogin> {
        self.of(headers, now).into_iter().find(|login| same_secret(&login.state, state))
    }

    /// The cookie with `login` added to what the request's browser has under way.
    pub fn with(&self, headers: &HeaderMap, login: PendingLogin) -> Result<HeaderValue, Failure> {
        let mut logins = self.of(headers, login.issued_at);
        logins.push(login);
        let plain = loop {
            let plain = serde_json::to_vec(&logins).map_err(|e| Failure::because(Reason::Internal, e.to_string()))?;
            if logins.len() == 1 || (logins.len() <= MOST && plain.len() <= MAX_BYTES) {
                break plain;
            }
            // The oldest has to go.
            logins.remove(0);
        };
        let sealed =
            self.key.seal(LOGIN_COOKIE, &plain).map_err(|e| Failure::because(Reason::Internal, e.to_string()))?;
        let secure = self.secure;
        let cookie = Cookie { name: LOGIN_COOKIE, path: "/api/wechat", max_age: LIFETIME, readable: false, secure };
        cookie.set(&sealed).ok_or_else(|| Failure::because(Reason::Internal, "a login does not fit into a cookie"))
    }

    fn of(&self, headers: &HeaderMap, now: Timestamp) -> Vec<PendingLogin> {
        let opened = cookies::get(headers, LOGIN_COOKIE).and_then(|sealed| self.key.open(LOGIN_COOKIE, sealed).ok());
        let logins: Vec<PendingLogin> =
            opened.and_then(|plain| serde_json::from_slice(&plain).ok()).unwrap_or_default();
        logins.into_iter().filter(|login| now.since(login.issued_at) < LIFETIME).collect()
    }
}

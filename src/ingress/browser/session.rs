//! Who is logged in: a sealed text that only this service can make or read.
//!
//! A page carries it as a cookie that its scripts cannot see, a mini program as a bearer token; the two are sealed for
//! different uses, so that one does not open as the other. A text that is forged, changed, of an app that is configured no
//! more, or too old means "not logged in" and is never an error. What must stay true: the openid of every order comes from
//! here alone.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};

use super::super::auth::bearer;
use super::cookies::{self, Cookie};
use super::failure::{Failure, Reason};
use crate::clock::Timestamp;
use crate::config::{App, Config};
use crate::ids::{AppId, AppKey, OpenId};
use crate::seal::{CannotSeal, SealKey};
use crate::secret::Secret;

/// The cookie of a page's session.
pub const SESSION_COOKIE: &str = "wxpay_session";
/// The cookie that tells a page's scripts that there is a session. It holds nothing.
const MARKER_COOKIE: &str = "openId";
const MARKER: &str = "1";
/// What a mini program's session is sealed for.
const MINI: &str = "mini";

/// A logged-in payer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Our name of the app they logged in with.
    pub app: AppKey,
    /// WeChat's number of it: an openid means nothing under another.
    pub app_id: AppId,
    /// Who they are under that app.
    pub openid: OpenId,
    /// Whether this is the virtual user of a snapshot page, who can pay nothing.
    pub snapshot: bool,
    /// Since when.
    pub issued_at: Timestamp,
}

/// Makes and reads sessions.
#[derive(Debug)]
pub struct Sessions {
    key: SealKey,
    lifetime: Duration,
    secure: bool,
}

impl Sessions {
    /// Sealed under a key of the configured secret.
    pub fn new(secret: &Secret, config: &Config) -> Result<Sessions, CannotSeal> {
        Ok(Sessions {
            key: SealKey::derive(secret, "session")?,
            lifetime: config.web.session_lifetime,
            secure: config.server.public_url.starts_with("https://"),
        })
    }

    /// The session of a request: its bearer token where it has one, else its cookie.
    pub fn of(&self, headers: &HeaderMap, config: &Config, now: Timestamp) -> Option<Session> {
        let sealed = if headers.contains_key(header::AUTHORIZATION) {
            self.key.open(MINI, bearer(headers)?)
        } else {
            self.key.open(SESSION_COOKIE, cookies::get(headers, SESSION_COOKIE)?)
        };
        let session: Session = serde_json::from_slice(&sealed.ok()?).ok()?;
        let app = config.app(session.app.as_str())?;
        let current = app.app_id == session.app_id && now.since(session.issued_at) < self.lifetime;
        current.then_some(session)
    }

    /// As [`Sessions::of`], where there must be one.
    pub fn required(&self, headers: &HeaderMap, config: &Config, now: Timestamp) -> Result<Session, Failure> {
        self.of(headers, config, now).ok_or_else(|| Reason::NotLoggedIn.into())
    }

    /// The cookies of a page's session: the sealed one, and the marker that its scripts can see.
    pub fn cookies(&self, session: &Session) -> Result<[HeaderValue; 2], Failure> {
        let sealed = self.seal(SESSION_COOKIE, session)?;
        let cookie = |name, readable| Cookie { name, path: "/", max_age: self.lifetime, readable, secure: self.secure };
        let lines = (cookie(SESSION_COOKIE, false).set(&sealed), cookie(MARKER_COOKIE, true).set(MARKER));
        match lines {
            (Some(session), Some(marker)) => Ok([session, marker]),
            _ => Err(Failure::because(Reason::Internal, "a session does not fit into a cookie")),
        }
    }

    /// A mini program's session, for its `Authorization: Bearer …`.
    pub fn token(&self, session: &Session) -> Result<String, Failure> {
        self.seal(MINI, session)
    }

    fn seal(&self, context: &str, session: &Session) -> Result<String, Failure> {
        let plain = serde_json::to_vec(session).map_err(|e| Failure::because(Reason::Internal, e.to_string()))?;
        self.key.seal(context, &plain).map_err(|e| Failure::because(Reason::Internal, e.to_string()))
    }
}

/// The session of a user who has just proved who they are.
pub fn session(app: &App, openid: OpenId, snapshot: bool, now: Timestamp) -> Session {
    Session { app: app.key.clone(), app_id: app.app_id.clone(), openid, snapshot, issued_at: now }
}

//! Who is logged in: a sealed text that only this service can make or read.
//!
//! A page carries it as a cookie that its scripts cannot see, a mini program as a bearer token; the two are sealed for
//! different uses, so that one does not open as the other. A text that is forged, changed, of an app that is configured
//! no more, or too old means "not logged in" and is never an error. What must stay true: the openid of every order
//! comes from here alone.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};

use super::cookies;
use super::cookies::{Cookie, Jar};
use super::envelope::{Failure, Reason};
use crate::clock::Timestamp;
use crate::config::{App, Config};
use crate::http::extract::auth::bearer;
use crate::ids::{AppId, AppKey, OpenId};
use crate::sealed_box::{CannotSeal, SealKey};
use crate::secret::Secret;

/// The cookie of a page's session, and what it is sealed for.
const SESSION_COOKIE: &str = "wxpay_session";
/// The cookie that tells a page's scripts that there is a session. It holds nothing.
const MARKER_COOKIE: &str = "openId";
const MARKER: &str = "1";
/// How long the made-up user of a snapshot page counts: the person comes back under their own name any moment.
const SNAPSHOT_LIFETIME: Duration = Duration::from_secs(600);
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
    /// The newest first: it seals.
    keys: Vec<SealKey>,
    lifetime: Duration,
    jar: Jar,
    /// The session cookie as browsers know it.
    name: String,
}

impl Sessions {
    /// Sealed under a key of the configured secret.
    pub fn new(secret: &Secret, config: &Config) -> Result<Sessions, CannotSeal> {
        let jar = Jar::new(&config.server.public_url);
        let secrets = std::iter::once(secret).chain(&config.web.session_key_previous);
        let keys = secrets.map(|secret| SealKey::derive(secret, "session")).collect::<Result<_, _>>()?;
        let lifetime = config.web.session_lifetime;
        Ok(Sessions { keys, lifetime, name: jar.name(SESSION_COOKIE), jar })
    }

    /// The session of a request: its bearer token where it has one, else its cookie. Whether it was ended since, the
    /// database knows: [`crate::web::state::WebState::session`].
    pub fn of(&self, headers: &HeaderMap, config: &Config, now: Timestamp) -> Option<Session> {
        let (context, sealed) = if headers.contains_key(header::AUTHORIZATION) {
            (MINI, bearer(headers)?)
        } else {
            (SESSION_COOKIE, cookies::get(headers, &self.name)?)
        };
        let plain = self.keys.iter().find_map(|key| key.open(context, sealed).ok())?;
        let session: Session = serde_json::from_slice(&plain).ok()?;
        let app = config.app(session.app.as_str())?;
        let current = app.app_id == session.app_id
            && now.since(session.issued_at) < self.lifetime_of(&session)
            && config.web.sessions_not_before.is_none_or(|from| session.issued_at >= from);
        current.then_some(session)
    }

    fn lifetime_of(&self, session: &Session) -> Duration {
        if session.snapshot { self.lifetime.min(SNAPSHOT_LIFETIME) } else { self.lifetime }
    }

    /// The cookies of a page's session: the sealed one, and the marker that its scripts can see. A made-up user gets no
    /// marker: a page that checks it would take them for the person who comes afterwards.
    pub fn cookies(&self, session: &Session) -> Result<[HeaderValue; 2], Failure> {
        let sealed = self.seal(SESSION_COOKIE, session)?;
        let max_age = self.lifetime_of(session);
        let marker = if session.snapshot { self.marker(max_age).end() } else { self.marker(max_age).set(MARKER) };
        Ok([self.jar.for_host(&self.name, max_age).set(&sealed)?, marker?])
    }

    /// Ends the cookies of a session that counts no more, where a request brought any: a page that finds the marker
    /// would not send its payer to the login.
    pub fn ended(&self, headers: &HeaderMap) -> Result<Vec<HeaderValue>, Failure> {
        let brought =
            [MARKER_COOKIE, &self.name].iter().any(|name| cookies::beginning(headers, name).any(|(n, _)| n == *name));
        if !brought || headers.contains_key(header::AUTHORIZATION) {
            return Ok(Vec::new());
        }
        Ok(vec![self.jar.for_host(&self.name, self.lifetime).end()?, self.marker(self.lifetime).end()?])
    }

    fn marker(&self, max_age: Duration) -> Cookie<'static> {
        Cookie { readable: true, ..self.jar.for_host(MARKER_COOKIE, max_age) }
    }

    /// A mini program's session, for its `Authorization: Bearer …`.
    pub fn token(&self, session: &Session) -> Result<String, Failure> {
        self.seal(MINI, session)
    }

    fn seal(&self, context: &str, session: &Session) -> Result<String, Failure> {
        let plain = serde_json::to_vec(session).map_err(|e| Failure::because(Reason::Internal, e.to_string()))?;
        let key = self.keys.first().ok_or(Reason::NotOpen)?;
        key.seal(context, &plain).map_err(|e| Failure::because(Reason::Internal, e.to_string()))
    }
}

/// The session of a user who has just proved who they are.
pub fn session(app: &App, openid: OpenId, snapshot: bool, now: Timestamp) -> Session {
    Session { app: app.key.clone(), app_id: app.app_id.clone(), openid, snapshot, issued_at: now }
}

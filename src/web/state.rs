//! What the routes of the browser side share.

use std::convert::Infallible;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use metrics::counter;

use super::cookies::prefix;
use super::envelope::{Failure, Reason};
use super::limits::Limit;
use super::oauth::login_loop_guard::Rounds;
use super::oauth::state::PendingLogins;
use super::page::origins::Origins;
use super::parameters::Parameters;
use super::session::{Session, Sessions};
use super::striped_lock::StripedLock;
use crate::config;
use crate::config::{AppKind, Config};
use crate::http::extract::client_addr::client_ip;
use crate::http::middleware;
use crate::http::rate_limit::Gate;
use crate::http::{HttpShared, HttpState};
use crate::ids::{AppKey, OpenId};
use crate::sealed_box::{CannotSeal, SealKey};
use crate::secret::Secret;
use crate::store::TOKEN_SEAL;
use crate::telemetry::LOGINS_TOTAL;
use crate::wechat::platform::PlatformClient;

/// The window of every limit.
const MINUTE: Duration = Duration::from_secs(60);
/// Codes of one address that WeChat called used or invalid, a minute. Others do not count: a carrier's gateway brings
/// many payers.
const BAD_CODES: u32 = 30;
/// Codes at WeChat at once, in all and of one address. A payer's takes a tenth of a second, or up to
/// `wechat.timeout_ms`.
const EXCHANGES: usize = 512;
const EXCHANGES_OF_ONE: usize = 64;
/// New wallet orders of one payer, a minute. Offering an open order again does not count.
const NEW_ORDERS: u32 = 10;
/// Requests of one payer to ask WeChat about an order, a minute: what a page sends that asks every second.
const QUESTIONS: u32 = 60;
/// Phone numbers asked for in one session, a minute.
const PHONE_NUMBERS: u32 = 10;

/// Counts a login that came to an end: `logged_in`, or a word for why not.
pub fn count_login(app: &AppKey, outcome: &'static str) {
    counter!(LOGINS_TOTAL, "app" => app.to_string(), "outcome" => outcome).increment(1);
}

/// The browser side, where it is configured.
pub struct Browser {
    /// The way to WeChat's platform.
    pub platform: PlatformClient,
    /// Our pages.
    pub origins: Origins,
    /// Who is logged in.
    pub sessions: Sessions,
    /// Who is about to be.
    pub logins: PendingLogins,
    /// Opens the stored tokens and tickets.
    pub token_key: SealKey,
    /// Which browsers go round in a circle.
    pub rounds: Rounds,
    /// The path under which browsers see this service, without its trailing slash.
    pub prefix: String,
    /// Codes that WeChat called used up or invalid, by [`super::limits::subscriber`].
    pub bad_codes: Limit<IpAddr>,
    /// Logins from an address that sent too many of those, one after the other, where nothing else tells clients apart.
    pub slowed: StripedLock,
    /// Codes that are being exchanged, likewise.
    pub exchanges: Arc<Gate<IpAddr>>,
    /// A payer's clicks, one after the other.
    pub clicks: StripedLock,
    /// New wallet orders, by payer.
    pub new_orders: Limit<(AppKey, OpenId)>,
    /// Requests to ask WeChat about orders, by payer.
    pub questions: Limit<(AppKey, OpenId)>,
    /// Phone numbers, by payer.
    pub phone_numbers: Limit<(AppKey, OpenId)>,
}

impl Browser {
    /// Where `web.session_key` is configured.
    pub fn open(config: &Config, platform: PlatformClient) -> Option<Browser> {
        let secret = config.web.session_key.as_ref()?;
        match Browser::new(config, secret, platform) {
            Ok(browser) => Some(browser),
            Err(e) => {
                tracing::error!(error = %e, "The browser side stays closed");
                None
            }
        }
    }

    fn new(config: &Config, secret: &Secret, platform: PlatformClient) -> Result<Browser, CannotSeal> {
        Ok(Browser {
            platform,
            origins: Origins::new(&config.web.callback_origins, &config.server.public_url),
            sessions: Sessions::new(secret, config)?,
            logins: PendingLogins::new(secret, config)?,
            token_key: SealKey::derive(secret, TOKEN_SEAL)?,
            rounds: Rounds::new(secret, config)?,
            prefix: prefix(&config.server.public_url),
            bad_codes: Limit::new(BAD_CODES, MINUTE),
            slowed: StripedLock::new(),
            exchanges: Arc::new(Gate::new(EXCHANGES, EXCHANGES_OF_ONE)),
            clicks: StripedLock::new(),
            new_orders: Limit::new(NEW_ORDERS, MINUTE),
            questions: Limit::new(QUESTIONS, MINUTE),
            phone_numbers: Limit::new(PHONE_NUMBERS, MINUTE),
        })
    }
}

/// The browser side beside the state that all routes share.
pub struct WebShared {
    http: Arc<HttpShared>,
    /// None where `web.session_key` is not configured.
    browser: Option<Browser>,
}

impl WebShared {
    /// The browser side is open where `web.session_key` is configured.
    pub fn new(http: Arc<HttpShared>, platform: PlatformClient) -> WebShared {
        WebShared { browser: Browser::open(&http.snapshot(), platform), http }
    }
}

/// What one request of the browser side works with.
#[derive(Clone)]
pub struct WebState {
    http: HttpState,
    shared: Arc<WebShared>,
}

impl Deref for WebState {
    type Target = HttpState;

    fn deref(&self) -> &HttpState {
        &self.http
    }
}

impl FromRequestParts<Arc<WebShared>> for WebState {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<WebShared>) -> Result<WebState, Infallible> {
        let http = HttpState::of_request(&mut parts.extensions, &shared.http);
        Ok(WebState { http, shared: Arc::clone(shared) })
    }
}

impl WebState {
    /// The browser side, if it is open.
    pub fn browser(&self) -> Result<&Browser, Failure> {
        self.shared.browser.as_ref().ok_or_else(|| Reason::NotOpen.into())
    }

    /// The session of a request, unless it was ended.
    pub async fn session(&self, headers: &HeaderMap) -> Result<Option<Session>, Failure> {
        let sessions = &self.browser()?.sessions;
        let Some(session) = sessions.of(headers, &self.config, self.clock.now()) else { return Ok(None) };
        let ended_at = self.store.sessions_ended_at(&session.app, &session.openid).await?;
        Ok(Some(session).filter(|session| ended_at.is_none_or(|ended_at| session.issued_at > ended_at)))
    }

    /// As [`WebState::session`], where there must be one.
    pub async fn required_session(&self, headers: &HeaderMap) -> Result<Session, Failure> {
        self.session(headers).await?.ok_or_else(|| Reason::NotLoggedIn.into())
    }

    /// The app of this kind that a request means: `?app=`, or the first one; with its secret.
    pub fn web_app(&self, kind: AppKind, parameters: &Parameters) -> Result<(&config::App, &Secret), Failure> {
        let named = parameters.get("app")?;
        let app = match named {
            Some(key) => self.config.app(key).filter(|app| app.kind == kind),
            None => self.config.browser_app(kind),
        };
        let app = app.and_then(|app| Some((app, app.secret.as_ref()?)));
        app.ok_or_else(|| Reason::NotOpen.into())
    }

    /// The address a request really comes from.
    pub fn payer_ip(&self, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
        client_ip(middleware::remote_ip(extensions), headers, &self.config.server.trusted_proxies)
    }
}

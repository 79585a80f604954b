//! What the console's routes share, and what one request sees of it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use url::Url;

use super::cookies::Jar;
use super::flash;
use super::login::passwords::Passwords;
use super::login::samples::FailedLogins;
use super::overview::shared::{LIFETIME, SharedFigures};
use super::words::Lang;
use crate::http::extract::client_addr::client_ip;
use crate::http::extract::cookie;
use crate::http::rate_limit::{Gate, MinuteBudget};
use crate::http::{HttpShared, HttpState, middleware};
use crate::ops::replay::Tools;

/// Streams open at once in one process, and of one session.
const MAX_STREAMS: usize = 64;
const MAX_STREAMS_OF_SESSION: usize = 4;

/// What the routes share.
pub struct ConsoleShared {
    pub(super) http: Arc<HttpShared>,
    pub jar: Jar,
    /// Where browsers reach the console, as they name it in `Origin`.
    pub origin: String,
    pub failed_logins: FailedLogins,
    /// Attempts to log in, by address.
    pub attempts: MinuteBudget<IpAddr>,
    pub passwords: Passwords,
    /// Open streams, by session.
    pub streams: Arc<Gate<i64>>,
    /// What the first page shows.
    pub figures: SharedFigures,
}

impl ConsoleShared {
    /// Over the state of all routes.
    pub fn new(http: Arc<HttpShared>) -> ConsoleShared {
        let config = http.snapshot();
        let url = config.console.url(&config.server);
        let (jar, origin) = (Jar::new(url), Url::parse(url).map(|url| url.origin().ascii_serialization()));
        let origin = origin.unwrap_or_default();
        let streams = Arc::new(Gate::new(MAX_STREAMS, MAX_STREAMS_OF_SESSION));
        let (attempts, failed_logins) = (MinuteBudget::default(), FailedLogins::default());
        ConsoleShared {
            jar,
            origin,
            failed_logins,
            attempts,
            passwords: Passwords::default(),
            streams,
            figures: SharedFigures::new(LIFETIME),
            http,
        }
    }
}

/// Extractor: what one request works with. `store`, `clock` and `config` are those of [`HttpState`].
#[derive(Clone)]
pub struct Console {
    http: HttpState,
    pub shared: Arc<ConsoleShared>,
    /// The client's address.
    pub client: IpAddr,
    pub lang: Lang,
    pub theme: Theme,
    /// Path and query of the page, for ways back to it.
    pub path: String,
    /// What the page before left to say.
    pub flash: Option<String>,
}

/// The colours of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// As the system's.
    Auto,
    Light,
    Dark,
}

named!(Theme { Auto = "auto", Light = "light", Dark = "dark" });

impl Deref for Console {
    type Target = HttpState;

    fn deref(&self) -> &HttpState {
        &self.http
    }
}

impl Console {
    /// The state of the request with these parts.
    pub fn of_request(parts: &mut Parts, shared: &Arc<ConsoleShared>) -> Console {
        let http = HttpState::of_request(&mut parts.extensions, &shared.http);
        let remote = middleware::remote_ip(&parts.extensions);
        let client = client_ip(remote, &parts.headers, &http.config.server.trusted_proxies);
        let cookie_of = |name| cookie::get(&parts.headers, name);
        let lang =
            cookie_of(shared.jar.lang()).and_then(Lang::parse).unwrap_or_else(|| Lang::of_browser(&parts.headers));
        let theme = cookie_of(shared.jar.theme()).and_then(Theme::parse).unwrap_or(Theme::Auto);
        let path = parts.uri.path_and_query().map_or("/console", |path| path.as_str()).to_owned();
        let flash = flash::read(shared.jar, &parts.headers);
        Console { http, shared: Arc::clone(shared), client, lang, theme, path, flash }
    }
}

impl Console {
    /// What operations work with.
    pub fn tools(&self) -> Tools<'_> {
        Tools { store: &self.store, bus: &self.bus, config: &self.config, clock: &self.clock, wechat: &self.wechat }
    }
}

impl FromRequestParts<Arc<ConsoleShared>> for Console {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<ConsoleShared>) -> Result<Console, Infallible> {
        Ok(Console::of_request(parts, shared))
    }
}

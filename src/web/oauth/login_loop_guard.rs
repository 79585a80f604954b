//! Detects login loops: a browser that logs in repeatedly because a page does not see that it is logged in.
//!
//! A page of another host than the cookies' sends its payer to the login for ever, and so does a page that insists on
//! what WeChat does not give. Each browser carries a sealed count of the logins it has just completed; the third within
//! a minute ends at a page that says so. What must stay true: a return that WeChat opens twice counts once.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::config::Config;
use crate::sealed_box::{CannotSeal, SealKey};
use crate::secret::{Secret, sha256_hex};
use crate::web::cookies;
use crate::web::cookies::Jar;
use crate::web::envelope::{Failure, Reason};

/// The cookie's name, and what it is sealed for.
const ROUNDS_COOKIE: &str = "wxpay_rounds";
/// Logins that a browser may complete within [`WINDOW`] and be sent on.
const MOST: usize = 2;
/// How long a completed login counts.
const WINDOW: Duration = Duration::from_secs(60);
/// Letters of the state's digest that tell two logins apart.
const TAG: usize = 12;

/// A completed login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Completed {
    login: String,
    at: Timestamp,
    /// A made-up user is followed by the person: that is no round.
    snapshot: bool,
}

/// What counting one came to.
#[derive(Debug)]
pub struct Counted {
    /// To be set.
    pub cookie: HeaderValue,
    /// The browser goes round in a circle.
    pub in_a_circle: bool,
}

/// Writes and reads the count.
#[derive(Debug)]
pub struct Rounds {
    key: SealKey,
    jar: Jar,
    name: String,
}

impl Rounds {
    /// Sealed under a key of the configured secret.
    pub fn new(secret: &Secret, config: &Config) -> Result<Rounds, CannotSeal> {
        let jar = Jar::new(&config.server.public_url);
        Ok(Rounds { key: SealKey::derive(secret, "rounds")?, name: jar.name(ROUNDS_COOKIE), jar })
    }

    /// Counts the completion of the login with this state.
    pub fn count(&self, headers: &HeaderMap, state: &str, snapshot: bool, now: Timestamp) -> Result<Counted, Failure> {
        let digest = sha256_hex(state.as_bytes());
        let login = digest.get(..TAG).unwrap_or(&digest).to_owned();
        let mut completed = self.completed(headers);
        completed.retain(|c| c.snapshot == snapshot && now.since(c.at) < WINDOW);
        if completed.iter().all(|c| c.login != login) {
            completed.push(Completed { login, at: now, snapshot });
        }
        let in_a_circle = completed.len() > MOST;
        // The cookie must not grow with the circle.
        let newest = completed.split_off(completed.len().saturating_sub(MOST + 1));
        let plain = serde_json::to_vec(&newest).map_err(|e| Failure::because(Reason::Internal, e.to_string()))?;
        let sealed =
            self.key.seal(ROUNDS_COOKIE, &plain).map_err(|e| Failure::because(Reason::Internal, e.to_string()))?;
        Ok(Counted { cookie: self.jar.for_routes(&self.name, WINDOW).set(&sealed)?, in_a_circle })
    }

    fn completed(&self, headers: &HeaderMap) -> Vec<Completed> {
        let plain = cookies::get(headers, &self.name).and_then(|sealed| self.key.open(ROUNDS_COOKIE, sealed).ok());
        plain.and_then(|plain| serde_json::from_slice(&plain).ok()).unwrap_or_default()
    }
}

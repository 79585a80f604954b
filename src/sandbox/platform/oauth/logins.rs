//! The tokens of one user under one app, from a page's login: an access_token of two hours, a refresh_token of thirty
//! days. They have nothing to do with the app's own access_token.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::codes::Scope;
use crate::clock::Timestamp;
use crate::secret::random_text;

/// How many logins are remembered.
const KEPT: usize = 10_000;

/// One user under one app.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Login {
    pub appid: String,
    pub person: usize,
    pub openid: String,
    pub scope: Scope,
    pub snapshot: bool,
}

/// A login with its tokens.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Granted {
    pub login: Login,
    pub access_token: String,
    pub refresh_token: String,
    pub expires_in_s: u64,
}

/// Why a user's token does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum NoLogin {
    Unknown,
    Expired,
}

struct Entry {
    login: Login,
    access_token: String,
    expires_at: Timestamp,
    refresh_expires_at: Timestamp,
}

pub(in crate::sandbox) struct Logins {
    lifetime: Duration,
    by_refresh: HashMap<String, Entry>,
    /// To the refresh_token.
    by_access: HashMap<String, String>,
    order: VecDeque<String>,
}

impl Logins {
    pub fn new(lifetime_s: u32) -> Logins {
        Logins {
            lifetime: Duration::from_secs(lifetime_s.into()),
            by_refresh: HashMap::new(),
            by_access: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// A person logged in.
    pub fn grant(&mut self, login: Login, refresh_life: Duration, now: Timestamp) -> Granted {
        let (access_token, refresh_token) = (new_token(), new_token());
        let entry = Entry {
            login: login.clone(),
            access_token: access_token.clone(),
            expires_at: now.after(self.lifetime),
            refresh_expires_at: now.after(refresh_life),
        };
        self.by_access.insert(access_token.clone(), refresh_token.clone());
        self.by_refresh.insert(refresh_token.clone(), entry);
        self.order.push_back(refresh_token.clone());
        if self.order.len() > KEPT
            && let Some(entry) = self.order.pop_front().and_then(|oldest| self.by_refresh.remove(&oldest))
        {
            self.by_access.remove(&entry.access_token);
        }
        Granted { login, access_token, refresh_token, expires_in_s: self.lifetime.as_secs() }
    }

    /// Prolongs a live access_token, or replaces a dead one.
    pub fn refresh(&mut self, refresh_token: &str, appid: &str, now: Timestamp) -> Result<Granted, NoLogin> {
        let lifetime = self.lifetime;
        let entry = self.by_refresh.get_mut(refresh_token).filter(|entry| entry.login.appid == appid);
        let entry = entry.ok_or(NoLogin::Unknown)?;
        if now >= entry.refresh_expires_at {
            return Err(NoLogin::Expired);
        }
        if now >= entry.expires_at {
            entry.access_token = new_token();
            self.by_access.insert(entry.access_token.clone(), refresh_token.to_owned());
        }
        entry.expires_at = now.after(lifetime);
        Ok(Granted {
            login: entry.login.clone(),
            access_token: entry.access_token.clone(),
            refresh_token: refresh_token.to_owned(),
            expires_in_s: lifetime.as_secs(),
        })
    }

    /// The login of a live access_token.
    pub fn check(&self, access_token: &str, now: Timestamp) -> Result<&Login, NoLogin> {
        let entry = self.entry(access_token).ok_or(NoLogin::Unknown)?;
        // An older token of the same login is past its end, too.
        if entry.access_token == access_token && now < entry.expires_at {
            Ok(&entry.login)
        } else {
            Err(NoLogin::Expired)
        }
    }

    /// The app of an access_token, dead or alive.
    pub fn app_of(&self, access_token: &str) -> Option<&str> {
        Some(&self.entry(access_token)?.login.appid)
    }

    fn entry(&self, access_token: &str) -> Option<&Entry> {
        self.by_refresh.get(self.by_access.get(access_token)?)
    }
}

fn new_token() -> String {
    format!("92_{}", random_text(86))
}

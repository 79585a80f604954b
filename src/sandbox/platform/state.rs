//! What the platform knows of its apps. It holds no lock and knows no clock; callers give the moment.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::answer::{Refusal, not_in_whitelist, refused};
use super::api::Api;
use super::bridge::state::BridgeState;
use super::call_log::Calls;
use super::oauth::codes::Codes;
use super::oauth::logins::Logins;
use super::oauth::people::People;
use super::quota::{Limit, LoginRate, Used, published};
use super::token_store::{Dead, TokenStore};
use crate::clock::Timestamp;
use crate::sandbox::settings::{PlatformApp, PlatformKind, Settings};

pub(in crate::sandbox) struct App {
    pub settings: PlatformApp,
    pub used: Used,
    /// The Beijing day, how many on it, and when last.
    pub forced: (String, u32, Option<Timestamp>),
    /// None: calls may come from everywhere.
    pub whitelist: Option<Vec<IpAddr>>,
}

pub(in crate::sandbox) struct Platform {
    pub(in crate::sandbox) apps: BTreeMap<String, App>,
    pub(in crate::sandbox) token_store: TokenStore,
    pub(in crate::sandbox) calls: Calls,
    pub(in crate::sandbox) limits: BTreeMap<Api, Limit>,
    pub(in crate::sandbox) codes: Codes,
    pub(in crate::sandbox) logins: Logins,
    pub(in crate::sandbox) people: People,
    pub(in crate::sandbox) login_rate: LoginRate,
    pub(in crate::sandbox) bridge: BridgeState,
    pub(in crate::sandbox) time_scale: u32,
}

impl Platform {
    /// No person is logged in yet.
    pub fn new(settings: &Settings) -> Platform {
        let app = |settings: &PlatformApp| App {
            settings: settings.clone(),
            used: Used::default(),
            forced: (String::new(), 0, None),
            whitelist: None,
        };
        Platform {
            apps: settings.apps.iter().map(|a| (a.appid.as_str().to_owned(), app(a))).collect(),
            token_store: TokenStore::new(settings.token_lifetime_s, settings.token_overlap_s),
            calls: Calls::default(),
            limits: Api::ALL.into_iter().map(|api| (api, published(api))).collect(),
            codes: Codes::default(),
            logins: Logins::new(settings.token_lifetime_s),
            people: People::default(),
            login_rate: LoginRate::default(),
            bridge: BridgeState::default(),
            time_scale: settings.time_scale.max(1),
        }
    }

    /// A duration of WeChat's own.
    pub(in crate::sandbox) fn scaled(&self, seconds: u64) -> Duration {
        Duration::from_secs(seconds) / self.time_scale
    }

    /// The app, or nothing where the appid is not one of ours.
    pub(in crate::sandbox) fn app(&mut self, appid: &str) -> Result<&mut App, Refusal> {
        self.apps.get_mut(appid).ok_or_else(|| refused(40013))
    }

    /// Counts the call against the app's quota.
    pub(in crate::sandbox) fn count(&mut self, api: Api, appid: &str, now: Timestamp) -> Result<(), Refusal> {
        let limit = self.limits.get(&api).copied().unwrap_or_default();
        self.app(appid)?.used.count(api, limit, now)
    }

    /// Whether the app's calls may come from there.
    pub(in crate::sandbox) fn admits(&self, appid: &str, peer: IpAddr) -> Result<(), Refusal> {
        match self.apps.get(appid).and_then(|app| app.whitelist.as_ref()) {
            Some(list) if !list.contains(&peer.to_canonical()) => Err(not_in_whitelist(peer.to_canonical())),
            Some(_) | None => Ok(()),
        }
    }

    /// The app that a global access_token speaks for, and what it is.
    pub(in crate::sandbox) fn bearer(
        &mut self,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<(String, PlatformKind), Refusal> {
        let token = token.ok_or_else(|| refused(41001))?;
        match self.token_store.check(token, now).map(str::to_owned) {
            Ok(appid) => {
                let kind = self.app(&appid)?.settings.kind;
                Ok((appid, kind))
            }
            Err(why) => {
                let appid = self.token_store.known(token, now).map(|known| known.appid.to_owned()).unwrap_or_default();
                self.calls.dead_token(&appid, why);
                Err(refused(match why {
                    Dead::Malformed => 40014,
                    Dead::Unknown | Dead::Replaced => 40001,
                    Dead::Expired => 42001,
                }))
            }
        }
    }
}

//! How often an app may call: by the Beijing day, by the minute, and how often it may have its counts reset.

use std::collections::{BTreeMap, HashMap};

use super::answer::{Refusal, refused};
use super::api::Api;
use crate::clock::Timestamp;

/// `clear_quota` a month.
const RESETS: u32 = 10;

/// Most calls of one API by one app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct Limit {
    pub per_day: Option<u64>,
    pub per_minute: Option<u64>,
}

/// The published limits; what WeChat publishes no number of is not limited here.
pub(in crate::sandbox) fn published(api: Api) -> Limit {
    match api {
        Api::Token => Limit { per_day: Some(2000), per_minute: None },
        Api::StableToken => Limit { per_day: Some(500_000), per_minute: Some(10_000) },
        Api::OauthAccessToken => Limit { per_day: None, per_minute: Some(50_000) },
        // A mini program's logins are limited by user.
        Api::GetTicket
        | Api::ClearQuota
        | Api::OauthRefreshToken
        | Api::Userinfo
        | Api::Auth
        | Api::Jscode2Session
        | Api::GetUserPhoneNumber => Limit::default(),
    }
}

/// What one app has used.
#[derive(Default)]
pub(in crate::sandbox) struct Used {
    day: String,
    today: BTreeMap<Api, u64>,
    minute: i64,
    this_minute: BTreeMap<Api, u64>,
    month: String,
    resets: u32,
}

impl Used {
    /// Counts one call, or refuses it.
    pub fn count(&mut self, api: Api, limit: Limit, now: Timestamp) -> Result<(), Refusal> {
        self.start_period(now);
        let (today, minute) = (self.today.entry(api).or_default(), self.this_minute.entry(api).or_default());
        if limit.per_day.is_some_and(|most| *today >= most) {
            return Err(refused(45009));
        }
        if limit.per_minute.is_some_and(|most| *minute >= most) {
            return Err(refused(45011));
        }
        *today += 1;
        *minute += 1;
        Ok(())
    }

    /// Resets the day's counts, ten times a month.
    pub fn reset(&mut self, now: Timestamp) -> Result<(), Refusal> {
        self.start_period(now);
        if self.resets >= RESETS {
            return Err(refused(48006));
        }
        self.resets += 1;
        self.today.clear();
        self.this_minute.clear();
        Ok(())
    }

    fn start_period(&mut self, now: Timestamp) {
        let beijing = now.to_beijing();
        if self.day != beijing[..8] {
            self.day = beijing[..8].to_owned();
            self.today.clear();
        }
        if self.month != beijing[..6] {
            self.month = beijing[..6].to_owned();
            self.resets = 0;
        }
        let minute = now.as_seconds().div_euclid(60);
        if self.minute != minute {
            self.minute = minute;
            self.this_minute.clear();
        }
    }
}

/// Logins of one user of one app.
const LOGINS_A_MINUTE: u32 = 100;

/// How often each user logged in in the current minute.
#[derive(Default)]
pub(in crate::sandbox) struct LoginRate {
    minute: i64,
    by_user: HashMap<(String, usize), u32>,
}

impl LoginRate {
    /// Counts one login, or refuses it.
    pub fn count(&mut self, appid: &str, person: usize, now: Timestamp) -> Result<(), Refusal> {
        let minute = now.as_seconds().div_euclid(60);
        if self.minute != minute {
            self.minute = minute;
            self.by_user.clear();
        }
        let logins = self.by_user.entry((appid.to_owned(), person)).or_default();
        if *logins >= LOGINS_A_MINUTE {
            return Err(refused(45011));
        }
        *logins += 1;
        Ok(())
    }
}

//! Codes: for a page's login, a mini program's login, a phone number. Each works once, for five minutes, for its own
//! app.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::secret::random_text;

/// How long a code works.
pub(in crate::sandbox) const CODE_LIFE_S: u64 = 5 * 60;
/// How many codes are remembered.
const KEPT: usize = 10_000;

/// What the user of an OAuth page agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Scope {
    Base,
    Userinfo,
}

impl Scope {
    /// WeChat's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Base => "snsapi_base",
            Scope::Userinfo => "snsapi_userinfo",
        }
    }
}

/// What a code is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) enum Purpose {
    Page { scope: Scope, snapshot: bool },
    Mini,
    Phone { number: String, country_code: String },
}

/// Which kind of code a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Taking {
    Page,
    Mini,
    Phone,
}

/// What a code stands for.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Code {
    pub appid: String,
    pub person: usize,
    pub purpose: Purpose,
}

struct Entry {
    code: Code,
    issued_at: Timestamp,
    used: bool,
}

/// Why a code is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Spoiled {
    /// It was never issued, or it is another app's, or for something else.
    Unknown,
    Used,
    Expired,
}

#[derive(Default)]
pub(in crate::sandbox) struct Codes {
    by_text: HashMap<String, Entry>,
    order: VecDeque<String>,
}

impl Codes {
    pub fn issue(&mut self, code: Code, now: Timestamp) -> String {
        let text = random_text(32);
        self.by_text.insert(text.clone(), Entry { code, issued_at: now, used: false });
        self.order.push_back(text.clone());
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_text.remove(&oldest);
        }
        text
    }

    /// What a code of this app stands for, used or not.
    pub fn find(&self, text: &str, taking: Taking, appid: &str) -> Option<&Code> {
        let entry = self.by_text.get(text)?;
        let fits = match entry.code.purpose {
            Purpose::Page { .. } => taking == Taking::Page,
            Purpose::Mini => taking == Taking::Mini,
            Purpose::Phone { .. } => taking == Taking::Phone,
        };
        (fits && entry.code.appid == appid).then_some(&entry.code)
    }

    /// Uses a code up.
    pub fn take(
        &mut self,
        text: &str,
        taking: Taking,
        appid: &str,
        now: Timestamp,
        life: Duration,
    ) -> Result<Code, Spoiled> {
        let code = self.find(text, taking, appid).cloned().ok_or(Spoiled::Unknown)?;
        let entry = self.by_text.get_mut(text).ok_or(Spoiled::Unknown)?;
        if entry.used {
            return Err(Spoiled::Used);
        }
        if now >= entry.issued_at.after(life) {
            return Err(Spoiled::Expired);
        }
        entry.used = true;
        Ok(code)
    }
}

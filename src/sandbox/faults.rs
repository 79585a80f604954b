//! Misbehaviour on demand: rules say which call goes wrong, how, how often.
//!
//! The first rule that matches a call and whose dice fall decides; one call meets one fault at most. A fault changes
//! what is on the wire or when, never the truth of the ledger. The dice are seeded: the same seed and the same order
//! of calls give the same faults.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

pub(super) use super::fault_kinds::{Kind, On, RefundCode};
use super::ids::mix;
use super::platform::Api;

/// Elements with their new text; none: left out.
pub(super) type Set = BTreeMap<String, Option<String>>;

/// One rule, as the control API takes and shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub on: On,
    pub kind: Kind,
    /// How often it may still happen; absent or null: for ever.
    #[serde(default)]
    pub times: Option<u32>,
    /// 0 to 100.
    #[serde(default = "always")]
    pub probability_percent: u8,
    /// For `delay`, `reorder`, `slow`.
    #[serde(default = "one_second")]
    pub delay_ms: u64,
    /// For `duplicate` on `notify`.
    #[serde(default = "two")]
    pub copies: u8,
    /// For `system_error`, `http_500`, `refuse`, `raw` and `errcode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executed: Option<bool>,
    /// For `errcode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errcode: Option<i64>,
    /// For `refuse`, and needed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err_code: Option<RefundCode>,
    /// For `raw`: the answer, which may be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// For `raw`, in place of `body`: bytes that are no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// For `rewrite`: elements with their new text, or null to leave them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Set>,
    /// For `misdirect`: where the notification goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Only calls about this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_trade_no: Option<String>,
    /// Only calls of this merchant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mch_id: Option<String>,
    /// Only platform calls of this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appid: Option<String>,
    /// How often it happened so far.
    #[serde(default, skip_deserializing)]
    pub fired: u64,
}

fn always() -> u8 {
    100
}

fn one_second() -> u64 {
    1000
}

fn two() -> u8 {
    2
}

impl Rule {
    fn check(&self) -> Result<(), String> {
        let Rule { on, kind, .. } = self;
        if !kind.possible(*on) {
            return Err(format!("a {kind:?} fault is not possible on {on:?}"));
        }
        if self.err_code.is_some() != (*kind == Kind::Refuse) {
            return Err("err_code belongs to a refuse fault, which needs one".to_owned());
        }
        self.words()?;
        for (name, given, needs) in
            [("set", self.set.is_some(), Kind::Rewrite), ("url", self.url.is_some(), Kind::Misdirect)]
        {
            if given != (*kind == needs) {
                return Err(format!("{name} belongs to a {needs:?} fault, which needs it"));
            }
        }
        if self.probability_percent > 100 {
            return Err("probability_percent must be between 0 and 100".to_owned());
        }
        if self.copies == 0 || self.copies > 100 {
            return Err("copies must be between 1 and 100".to_owned());
        }
        if self.delay_ms > 600_000 {
            return Err("delay_ms must be at most 600000 (ten minutes)".to_owned());
        }
        if (*kind == Kind::Errcode) != self.errcode.is_some_and(|code| code != 0) {
            return Err("errcode goes with the kind errcode, and is not 0".to_owned());
        }
        let of_pay = self.mch_id.is_some() || self.out_trade_no.is_some();
        let of_platform = self.appid.is_some();
        if (matches!(on, On::Platform(_)) && of_pay) || (!matches!(on, On::Platform(_)) && of_platform) {
            return Err("mch_id and out_trade_no belong to the pay API, appid to the platform".to_owned());
        }
        Ok(())
    }

    /// The answer of a `raw` fault.
    fn words(&self) -> Result<Vec<u8>, String> {
        match (self.kind == Kind::Raw, &self.body, &self.body_base64) {
            (true, Some(text), None) => Ok(text.clone().into_bytes()),
            (true, None, Some(text)) => STANDARD.decode(text).map_err(|_| "body_base64 is not base64".to_owned()),
            (false, None, None) => Ok(Vec::new()),
            _ => Err("body or body_base64 goes with the kind raw, which needs one of them".to_owned()),
        }
    }

    fn matches(&self, on: On, mch_id: &str, out_trade_no: &str) -> bool {
        self.on == on
            && self.times != Some(0)
            && self.out_trade_no.as_deref().is_none_or(|n| n == out_trade_no)
            && self.mch_id.as_deref().is_none_or(|m| m == mch_id)
    }

    fn matches_app(&self, api: Api, appid: &str) -> bool {
        self.on == On::Platform(api) && self.times != Some(0) && self.appid.as_deref().is_none_or(|a| a == appid)
    }
}

/// A fault that happens now.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    pub kind: Kind,
    pub delay: Duration,
    pub copies: u8,
    /// For `system_error`, `http_500`, `refuse`, `raw` and `errcode`.
    pub executed: bool,
    /// For `errcode`.
    pub errcode: i64,
    /// For `refuse`.
    pub err_code: Option<RefundCode>,
    /// For `raw`.
    pub body: Arc<[u8]>,
    /// For `rewrite`.
    pub set: Arc<Set>,
    /// For `misdirect`.
    pub url: Option<String>,
}

impl Hit {
    /// A fault of this kind with the defaults of a rule.
    pub fn plain(kind: Kind) -> Hit {
        Hit {
            kind,
            delay: Duration::from_millis(one_second()),
            copies: two(),
            executed: true,
            errcode: -1,
            err_code: None,
            body: Arc::new([]),
            set: Arc::default(),
            url: None,
        }
    }
}

/// The rules in force.
pub(super) struct Faults {
    // Read without the lock on every call: almost always there is no rule at all.
    any: AtomicBool,
    table: Mutex<Table>,
}

struct Table {
    rules: Vec<Rule>,
    seed: u64,
    rolls: u64,
}

impl Table {
    fn roll(&mut self) -> u64 {
        self.rolls += 1;
        // Apart from the numbers issued with the same seed.
        mix(self.seed ^ 0xfa17, self.rolls)
    }
}

impl Faults {
    /// No rules.
    pub fn new(seed: u64) -> Faults {
        Faults { any: AtomicBool::new(false), table: Mutex::new(Table { rules: Vec::new(), seed, rolls: 0 }) }
    }

    /// Adds rules after those in force: all of them or, when one is impossible, none.
    pub fn add(&self, rules: Vec<Rule>) -> Result<(), String> {
        rules.iter().try_for_each(Rule::check)?;
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.rules.extend(rules);
        self.any.store(!table.rules.is_empty(), Ordering::Release);
        Ok(())
    }

    /// Ends all misbehaviour.
    pub fn clear(&self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.rules.clear();
        self.any.store(false, Ordering::Release);
    }

    /// The rules with what is left of them.
    pub fn list(&self) -> Vec<Rule> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).rules.clone()
    }

    /// The fault that this call meets.
    pub fn meet(&self, on: On, mch_id: &str, out_trade_no: &str) -> Option<Hit> {
        self.first(|rule| rule.matches(on, mch_id, out_trade_no))
    }

    /// The fault that this call of the platform API meets.
    pub fn meet_app(&self, api: Api, appid: &str) -> Option<Hit> {
        self.first(|rule| rule.matches_app(api, appid))
    }

    fn first(&self, matches: impl Fn(&Rule) -> bool) -> Option<Hit> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for index in 0..table.rules.len() {
            let rule = table.rules.get(index).filter(|rule| matches(rule));
            let Some(percent) = rule.map(|rule| rule.probability_percent) else {
                continue;
            };
            if table.roll() % 100 >= u64::from(percent) {
                continue;
            }
            let coin = table.roll().is_multiple_of(2);
            let rule = table.rules.get_mut(index)?;
            rule.times = rule.times.map(|n| n.saturating_sub(1));
            rule.fired += 1;
            return Some(Hit {
                kind: rule.kind,
                delay: Duration::from_millis(rule.delay_ms),
                copies: rule.copies,
                executed: rule
                    .executed
                    .unwrap_or(coin && !matches!(rule.kind, Kind::Errcode | Kind::Refuse | Kind::Raw)),
                errcode: rule.errcode.unwrap_or(-1),
                err_code: rule.err_code,
                body: rule.words().unwrap_or_default().into(),
                set: Arc::new(rule.set.clone().unwrap_or_default()),
                url: rule.url.clone(),
            });
        }
        None
    }
}

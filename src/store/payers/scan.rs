//! A page of a table as an erasure reads it, and what is written of it.

use std::fmt::Display;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sea_orm::Value;
use serde_json::Value as Json;

use super::hide::{payers_in, values};
use super::key::Payers;
use super::types::{Erasure, Needed, Scope};
use crate::ids::AppKey;

/// Rows that one read takes.
pub const ROWS: u64 = 200;

/// Who is erased.
pub struct Payer<'a> {
    pub app: &'a AppKey,
    /// Whose rows may be touched.
    pub scope: &'a Scope,
    pub openid: &'a str,
    /// What stands in the openid's place.
    pub name: &'a str,
    /// Every name that rows may have for the openid.
    pub names: Vec<String>,
    /// The time of the request: what came later is not erased.
    pub until: i64,
}

impl<'a> Payer<'a> {
    pub fn new(of: &'a Erasure, openid: &'a str, payers: &Payers) -> Payer<'a> {
        Payer {
            app: &of.app,
            scope: &of.scope,
            openid,
            name: &of.payer,
            names: payers.names(openid),
            until: of.asked_at.as_ms(),
        }
    }

    /// Whether one of these is the openid.
    pub fn is_among(&self, payers: &[String]) -> bool {
        payers.iter().any(|payer| payer == self.openid)
    }

    /// Whether one of these is a name of the openid.
    pub fn is_named_among(&self, payers: &[String]) -> bool {
        payers.iter().any(|payer| self.names.contains(payer))
    }

    pub fn is_of_merchant(&self, merchant: &str) -> bool {
        self.scope.merchants.iter().any(|own| own == merchant)
    }

    /// Whether a message of WeChat's is about this payer of this app.
    pub fn is_payer_of(&self, body: &[u8]) -> bool {
        let body = String::from_utf8_lossy(body);
        let mut apps = values(&body, "appid").chain(values(&body, "sub_appid")).peekable();
        let is_of_app = apps.peek().is_none() || apps.any(|appid| appid == self.scope.appid);
        is_of_app && self.is_among(&payers_in(&body))
    }

    /// Whether a message of the queue is about this payer: a merchant's, by its subject.
    pub fn is_payer_of_message(&self, subject: &str, payload: &[u8]) -> bool {
        let merchant = subject.strip_prefix("pay.in.").and_then(|rest| rest.split('.').next());
        merchant.is_some_and(|merchant| self.is_of_merchant(merchant))
            && serde_json::from_slice(payload).is_ok_and(|json| self.is_payer_in(&json))
    }

    /// In a member that is the payer of an order of this app, or in WeChat's message in base64.
    fn is_payer_in(&self, json: &Json) -> bool {
        match json {
            Json::Object(members) => {
                let is = |member: &str, value: &str| members.get(member).and_then(Json::as_str) == Some(value);
                let is_other = members.get("app").is_some_and(|app| app.as_str() != Some(self.app.as_str()));
                (!is_other && (is("openid", self.openid) || is("sub_openid", self.openid)))
                    || members.values().any(|member| self.is_payer_in(member))
            }
            Json::Array(items) => items.iter().any(|item| self.is_payer_in(item)),
            Json::String(text) => STANDARD.decode(text).is_ok_and(|bytes| self.is_payer_of(&bytes)),
            _ => false,
        }
    }
}

/// A statement of a step. It names the state that the row was read in: a row that changed since is left alone.
#[derive(Debug, Clone)]
pub struct Change {
    pub sql: &'static str,
    pub values: Vec<Value>,
    pub removes: bool,
}

impl Change {
    pub fn to(sql: &'static str, values: impl Into<Vec<Value>>) -> Change {
        Change { sql, values: values.into(), removes: false }
    }
}

/// What came of reading a page.
#[derive(Debug, Default)]
pub struct Page {
    pub changes: Vec<Change>,
    /// What is needed yet.
    pub found: Vec<Needed>,
    /// Whether a row is the payer's.
    pub is_of_payer: bool,
    /// The key of the last row; none where the table is at its end.
    pub next: Option<String>,
}

impl Page {
    /// After `rows` rows of which the last has this key.
    pub fn after(rows: usize, last: Option<String>) -> Page {
        let next = last.filter(|_| rows as u64 >= ROWS);
        Page { next, ..Page::default() }
    }

    pub fn changes(&mut self, sql: &'static str, values: impl Into<Vec<Value>>) {
        self.changes.push(Change::to(sql, values));
    }

    pub fn removes(&mut self, sql: &'static str, values: impl Into<Vec<Value>>) {
        self.changes.push(Change { sql, values: values.into(), removes: true });
    }
}

impl Page {
    /// A row that cannot be read is passed over: it must not keep the others.
    pub fn cannot_read(&mut self, table: &str, id: impl Display, error: &dyn Display) {
        tracing::warn!(table, %id, %error, "An erasure passes over a row that cannot be read");
        self.found.push(Needed::Unreadable);
    }
}

/// A key that is a number.
pub fn number(key: &str) -> i64 {
    key.parse().unwrap_or(i64::MIN)
}

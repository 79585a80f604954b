//! A page of a table as an erasure reads it, and what is written of it.

use sea_orm::Value;

use super::key::Payers;
use super::types::Needed;
use super::words::{bytes_have_word, has_word};
use crate::ids::AppKey;

/// Rows that one read takes.
pub const ROWS: u64 = 200;

/// Who is erased.
pub struct Payer<'a> {
    pub app: &'a AppKey,
    pub openid: &'a str,
    /// What stands in the openid's place.
    pub name: &'a str,
    /// Every name that rows may have for the openid.
    pub names: Vec<String>,
    /// The time of the request: what came later is not erased.
    pub until: i64,
}

impl<'a> Payer<'a> {
    pub fn new(app: &'a AppKey, (openid, name): (&'a str, &'a str), payers: &Payers, until: i64) -> Payer<'a> {
        Payer { app, openid, name, names: payers.names(openid), until }
    }

    pub fn is_in(&self, text: &str) -> bool {
        has_word(text, self.openid)
    }

    pub fn is_in_bytes(&self, bytes: &[u8]) -> bool {
        bytes_have_word(bytes, self.openid)
    }

    /// Whether a text has one of the names.
    pub fn is_named_in(&self, text: &str) -> bool {
        self.names.iter().any(|name| has_word(text, name))
    }
}

/// A statement of a step. It names the state that the row was read in: a row that changed since is left alone.
#[derive(Debug, Clone)]
pub struct Change {
    pub sql: &'static str,
    pub values: Vec<Value>,
    pub removes: bool,
}

/// What came of reading a page.
#[derive(Debug, Default)]
pub struct Page {
    pub changes: Vec<Change>,
    /// What is needed yet.
    pub found: Vec<Needed>,
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
        self.changes.push(Change { sql, values: values.into(), removes: false });
    }

    pub fn removes(&mut self, sql: &'static str, values: impl Into<Vec<Value>>) {
        self.changes.push(Change { sql, values: values.into(), removes: true });
    }
}

/// A key that is a number.
pub fn number(key: &str) -> i64 {
    key.parse().unwrap_or(i64::MIN)
}

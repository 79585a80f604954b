//! Many values as one parameter, so that a statement's text does not depend on how many there are: a text that varies
//! is parsed and planned anew each time.
//!
//! PostgreSQL takes an array in its own notation, SQLite one of JSON.

use std::fmt::Write as _;

use sea_orm::sea_query::Expr;
use sea_orm::{DbErr, Value};

use super::kind::DbKind;

impl DbKind {
    /// The condition that a column holds one of the numbers of parameter `n`, which [`DbKind::numbers`] makes.
    pub(in crate::store) fn among_numbers(self, column: &str, n: usize) -> String {
        match self {
            DbKind::Sqlite => format!("{column} IN (SELECT value FROM json_each(${n}))"),
            DbKind::Postgres => format!("{column} = ANY (CAST(${n} AS bigint[]))"),
        }
    }

    /// The same of texts, which [`DbKind::texts`] makes.
    pub(in crate::store) fn among_texts(self, column: &str, n: usize) -> String {
        match self {
            DbKind::Sqlite => format!("{column} IN (SELECT value FROM json_each(${n}))"),
            DbKind::Postgres => format!("{column} = ANY (CAST(${n} AS text[]))"),
        }
    }

    /// A condition of our own in a query that is built; parameters are written `$1`, `$2`, … for both databases.
    pub(in crate::store) fn condition(self, sql: String, values: impl IntoIterator<Item = Value>) -> Expr {
        match self {
            // Its builder takes them by their order alone.
            DbKind::Sqlite => Expr::cust_with_values(unnumbered(&sql), values),
            DbKind::Postgres => Expr::cust_with_values(sql, values),
        }
    }

    /// Numbers as one parameter.
    pub(in crate::store) fn numbers(self, numbers: impl IntoIterator<Item = i64>) -> Value {
        let (open, close) = match self {
            DbKind::Sqlite => ('[', ']'),
            DbKind::Postgres => ('{', '}'),
        };
        let mut text = String::from(open);
        for (i, number) in numbers.into_iter().enumerate() {
            separate(&mut text, i);
            let _ = write!(text, "{number}");
        }
        text.push(close);
        text.into()
    }

    /// Texts as one parameter.
    pub(in crate::store) fn texts<'a>(self, texts: impl IntoIterator<Item = &'a str>) -> Value {
        match self {
            DbKind::Sqlite => serde_json::Value::from(texts.into_iter().collect::<Vec<_>>()).to_string().into(),
            DbKind::Postgres => {
                let mut text = String::from('{');
                for (i, one) in texts.into_iter().enumerate() {
                    separate(&mut text, i);
                    quote(&mut text, one);
                }
                text.push('}');
                text.into()
            }
        }
    }
}

/// A column of rows in PostgreSQL's notation of an array.
pub(in crate::store) fn array<'a>(values: impl Iterator<Item = &'a Value>) -> Result<String, DbErr> {
    let mut text = String::from('{');
    for (i, value) in values.enumerate() {
        separate(&mut text, i);
        let is_there = match value {
            Value::Bool(v) => v.map(|v| text.push(if v { 't' } else { 'f' })).is_some(),
            Value::Int(v) => number(&mut text, v.as_ref()),
            Value::BigInt(v) => number(&mut text, v.as_ref()),
            Value::Unsigned(v) => number(&mut text, v.as_ref()),
            Value::BigUnsigned(v) => number(&mut text, v.as_ref()),
            Value::String(v) => v.as_ref().map(|v| quote(&mut text, v)).is_some(),
            Value::Bytes(v) => v.as_ref().map(|v| hex(&mut text, v)).is_some(),
            _ => return Err(DbErr::Type("a parameter of a type that no table has".into())),
        };
        if !is_there {
            text.push_str("NULL");
        }
    }
    text.push('}');
    Ok(text)
}

/// PostgreSQL's name of an array of such values.
pub(in crate::store) fn array_type(value: &Value) -> Result<&'static str, DbErr> {
    match value {
        Value::Bool(_) => Ok("boolean[]"),
        Value::Int(_) | Value::BigInt(_) | Value::Unsigned(_) | Value::BigUnsigned(_) => Ok("bigint[]"),
        Value::String(_) => Ok("text[]"),
        Value::Bytes(_) => Ok("bytea[]"),
        _ => Err(DbErr::Type("a parameter of a type that no table has".into())),
    }
}

/// `?` for `$1`, `$2`, …, which stand in the order of their numbers.
fn unnumbered(sql: &str) -> String {
    let mut parts = sql.split('$');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "?" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

fn separate(text: &mut String, i: usize) {
    if i > 0 {
        text.push(',');
    }
}

fn number(text: &mut String, value: Option<&impl std::fmt::Display>) -> bool {
    value.map(|value| write!(text, "{value}")).is_some()
}

/// Always in quotes: without, the text NULL would be nothing.
fn quote(text: &mut String, value: &str) {
    text.reserve(value.len() + 2);
    text.push('"');
    let mut rest = value;
    while let Some(at) = rest.find(['"', '\\']) {
        let (plain, special) = rest.split_at(at);
        text.push_str(plain);
        text.push('\\');
        text.push_str(&special[..1]);
        rest = &special[1..];
    }
    text.push_str(rest);
    text.push('"');
}

fn hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.reserve(bytes.len() * 2 + 5);
    text.push_str("\"\\\\x");
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text.push('"');
}

//! The members of a JSON object, each taken once, with every problem kept.
//!
//! Numbers are checked as text: `1.0`, `1e2` and `-0` are not the whole numbers that an amount is made of, whatever a
//! JSON parser makes of them. A member given twice is refused, because readers disagree about which one counts.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::http::problem::{Error, FieldProblem};
use crate::money::Fen;

/// An object under examination.
#[derive(Debug)]
pub struct Form<'a> {
    members: BTreeMap<String, &'a RawValue>,
    /// What was found wrong so far.
    pub problems: Vec<FieldProblem>,
}

struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member appears twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        d.deserialize_map(Collect)
    }
}

/// Where the first mistake is. The words of the parser may quote the body, which may hold anything.
fn not_json(e: &serde_json::Error) -> Error {
    let why = match e.classify() {
        Category::Eof => "it ends too early",
        Category::Data => "not an object, or a member appears twice",
        Category::Syntax | Category::Io => "not JSON",
    };
    Error::NotJson { line: e.line(), column: e.column(), why }
}

impl<'a> Form<'a> {
    /// Parses the object of a request's body.
    pub fn parse(body: &'a [u8]) -> Result<Form<'a>, Error> {
        let text = std::str::from_utf8(body).map_err(|_| Error::Malformed { detail: "the body is not UTF-8 text" })?;
        let Members(members) = serde_json::from_str(text).map_err(|e| not_json(&e))?;
        Ok(Form { members, problems: Vec::new() })
    }

    /// Notes a problem of the member `name`.
    pub fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(FieldProblem::member(name, message));
    }

    /// The member's raw text; `null` counts as absent.
    pub fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        self.members.remove(name).filter(|value| value.get() != "null")
    }

    /// The member as text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let raw = self.raw(name)?;
        let text = serde_json::from_str(raw.get()).ok();
        if text.is_none() {
            self.problem(name, "must be a text");
        }
        text
    }

    /// The member parsed by `parse`, whose error is the problem's message.
    pub fn parsed<T, E: fmt::Display>(&mut self, name: &str, parse: impl FnOnce(String) -> Result<T, E>) -> Option<T> {
        match parse(self.text(name)?) {
            Ok(value) => Some(value),
            Err(e) => {
                self.problem(name, e.to_string());
                None
            }
        }
    }

    /// The member as an order's amount in fen.
    pub fn amount(&mut self, name: &str) -> Option<Fen> {
        let raw = self.raw(name)?;
        let amount = Fen::parse_field(raw.get()).and_then(|fen| Fen::order_amount(fen.as_i64()));
        if amount.is_err() {
            self.problem(name, format!("must be a whole number of fen from 1 to {}", Fen::ORDER_MAX));
        }
        amount.ok()
    }

    /// The member as an object of at most `max_bytes` of compact JSON.
    pub fn object(&mut self, name: &str, max_bytes: usize) -> Option<Value> {
        let raw = self.raw(name)?;
        let value = serde_json::from_str::<Value>(raw.get()).ok().filter(Value::is_object);
        let small = value.filter(|value| value.to_string().len() <= max_bytes);
        if small.is_none() {
            self.problem(name, format!("must be an object of at most {max_bytes} bytes"));
        }
        small
    }

    /// Ends the examination: what was not taken is unknown.
    pub fn finish(mut self) -> Vec<FieldProblem> {
        let unknown: Vec<String> = std::mem::take(&mut self.members).into_keys().collect();
        for name in unknown {
            self.problem(&name, "is not a member of this request");
        }
        self.problems
    }
}

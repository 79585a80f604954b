//! Reads one table of the tree key by key: converts, records problems and what is in force, and keeps count of the keys
//! it was asked for, so that the left-over ones can be named.
//!
//! Every method answers `None` after recording a problem and never stops the others: a person gets the whole list at
//! once.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Value;

use super::explain::Line;
use super::layers::{Node, Origin, Table};
use super::problem::{Problem, nearest};
use super::sections::CertificateCheck;
use crate::secret::sha256_hex;

/// What `wxpayd init` writes where only the merchant knows the value.
pub const CHANGE_ME: &str = "CHANGE-ME";

/// What is wrong with it.
pub(super) fn unfilled() -> String {
    format!("still is {CHANGE_ME}: put the real value there")
}

/// What reading brings to light, gathered over all tables.
#[derive(Default)]
pub(super) struct Report {
    /// What stops the start.
    pub problems: Vec<Problem>,
    /// What does not.
    pub warnings: Vec<Problem>,
    /// Problems where WeChat itself is called, and warnings where a simulator is.
    pub hazards: Vec<Problem>,
    /// What is in force.
    pub lines: Vec<Line>,
    /// Where the file's relative paths count from.
    pub folder: PathBuf,
    /// Parses the merchants' certificates.
    pub check_certificate: Option<CertificateCheck>,
    /// Keys of secrets that stand in the configuration file itself.
    pub inline_secrets: Vec<String>,
    /// Whether every user of the host can open the configuration file.
    pub is_open: bool,
}

/// One table.
pub(super) struct Reader<'a> {
    pub(super) path: String,
    pub(super) table: &'a Table,
    pub(super) report: &'a mut Report,
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    /// The whole configuration.
    pub(super) fn root(table: &'a Table, report: &'a mut Report) -> Reader<'a> {
        Reader { path: String::new(), table, report, known: Vec::new() }
    }

    /// Reads `[key]` with `read`.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Option<T> {
        self.known.push(key);
        let Some(Node::Table(table)) = self.table.get(key) else {
            self.problem(key, format!("must be a table: [{key}]"));
            return None;
        };
        let mut reader = Reader { path: key.to_owned(), table, report: &mut *self.report, known: Vec::new() };
        let section = read(&mut reader);
        reader.finish();
        section
    }

    /// Reads every `[[key]]` with `read`; the entries that could be read.
    pub(super) fn entries<T>(&mut self, key: &'static str, read: impl Fn(&mut Reader<'_>) -> Option<T>) -> Vec<T> {
        self.known.push(key);
        let tables = match self.table.get(key) {
            None => return Vec::new(),
            Some(Node::List(tables)) => tables,
            Some(Node::Value(Value::Array(items), _)) if items.is_empty() => return Vec::new(),
            Some(Node::Value(..) | Node::Table(_)) => {
                self.problem(key, format!("must be a list of tables: [[{key}]]"));
                return Vec::new();
            }
        };
        let mut entries = Vec::new();
        for (i, table) in tables.iter().enumerate() {
            let path = self.at(&format!("{key}[{i}]"));
            let mut reader = Reader { path, table, report: &mut *self.report, known: Vec::new() };
            entries.extend(read(&mut reader));
            reader.finish();
        }
        entries
    }

    /// Names every key that nothing asked for.
    pub(super) fn finish(&mut self) {
        let unknown: Vec<&String> = self.table.keys().filter(|key| !self.known.contains(&key.as_str())).collect();
        for key in unknown {
            let mend = match nearest(key, self.known.iter().copied()) {
                Some(meant) => format!("unknown key; did you mean {meant}?"),
                None => format!("unknown key; known here: {}", self.known.join(", ")),
            };
            self.problem(key, mend);
        }
    }

    /// A text that must be there, parsed.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let parsed = self.optional(key, parse)?;
        if parsed.is_none() {
            self.problem(key, "is missing".into());
        }
        parsed
    }

    /// A text that may be missing or empty, parsed.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let Some((value, origin)) = self.find(key)? else { return Some(None) };
        let Value::String(text) = value else {
            self.problem(key, "must be a text in quotes".into());
            return None;
        };
        self.shown(key, super::explain::quoted(text), origin);
        if text.is_empty() {
            return Some(None);
        }
        if text == CHANGE_ME {
            self.problem(key, unfilled());
            return None;
        }
        match parse(text) {
            Ok(parsed) => Some(Some(parsed)),
            Err(problem) => {
                self.problem(key, problem);
                None
            }
        }
    }

    /// A text with a default that the list of entries cannot have in `default.toml`.
    pub(super) fn or_default<T>(
        &mut self,
        key: &'static str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.optional(key, &parse)? {
            Some(parsed) => Some(parsed),
            None => {
                self.shown(key, super::explain::quoted(default), &Origin::Default);
                parse(default).ok()
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, key: &'static str, bounds: RangeInclusive<i64>) -> Option<i64> {
        let found = self.find(key)?;
        let number = match found {
            Some((Value::Integer(number), _)) => Some(*number),
            Some((Value::String(text), Origin::Environment(_))) => text.trim().parse().ok(),
            Some(_) | None => None,
        };
        let Some(number) = number.filter(|n| bounds.contains(n)) else {
            self.problem(key, format!("must be a whole number from {} to {}", bounds.start(), bounds.end()));
            return None;
        };
        if let Some((_, origin)) = found {
            self.shown(key, number.to_string(), origin);
        }
        Some(number)
    }

    /// A whole number with a default that the list of entries cannot have in `default.toml`.
    pub(super) fn number_or(&mut self, key: &'static str, default: i64, bounds: RangeInclusive<i64>) -> Option<i64> {
        if self.find(key)?.is_some() {
            return self.number(key, bounds);
        }
        self.shown(key, default.to_string(), &Origin::Default);
        Some(default)
    }

    /// A number of calls a second, at least one.
    pub(super) fn per_second(&mut self, key: &'static str, default: i64) -> Option<u32> {
        self.number_or(key, default, 1..=10_000).and_then(|n| u32::try_from(n).ok())
    }

    /// A time in milliseconds within bounds.
    pub(super) fn millis(&mut self, key: &'static str, bounds: RangeInclusive<i64>) -> Option<Duration> {
        self.number(key, bounds).and_then(|n| u64::try_from(n).ok()).map(Duration::from_millis)
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let found = self.find(key)?;
        let flag = match found {
            Some((Value::Boolean(flag), _)) => Some(*flag),
            Some((Value::String(text), Origin::Environment(_))) => text.trim().parse().ok(),
            Some(_) | None => None,
        };
        match (flag, found) {
            (Some(flag), Some((_, origin))) => self.shown(key, flag.to_string(), origin),
            _ => self.problem(key, "must be true or false".into()),
        }
        flag
    }

    /// A list of texts, each parsed; missing is empty.
    pub(super) fn items<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let Some((value, origin)) = self.find(key)? else { return Some(Vec::new()) };
        let Some(texts) = texts(value, origin) else {
            self.problem(key, "must be a list of texts".into());
            return None;
        };
        let quoted: Vec<String> = texts.iter().map(|text| super::explain::quoted(text)).collect();
        self.shown(key, format!("[{}]", quoted.join(", ")), origin);
        let mut items = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            match parse(text) {
                Ok(item) => items.push(item),
                Err(problem) => self.problem(key, format!("item {} {problem}", i + 1)),
            }
        }
        (items.len() == texts.len()).then_some(items)
    }

    /// Whether a key is this one text.
    pub(super) fn is_word(&self, key: &str, word: &str) -> bool {
        matches!(self.table.get(key), Some(Node::Value(Value::String(text), _)) if text == word)
    }

    /// Whether a key is a list of tables.
    pub(super) fn is_list(&self, key: &str) -> bool {
        matches!(self.table.get(key), Some(Node::List(_)))
    }

    /// The value of a key, if it has one; marks the key as known.
    pub(super) fn find(&mut self, key: &'static str) -> Option<Option<(&'a Value, &'a Origin)>> {
        self.known.push(key);
        match self.table.get(key) {
            None => Some(None),
            Some(Node::Value(value, origin)) => Some(Some((value, origin))),
            Some(Node::Table(_) | Node::List(_)) => {
                self.problem(key, "is a value, not a table".into());
                None
            }
        }
    }

    /// A relative path is resolved against the location of its origin.
    pub(super) fn resolve(&self, path: &str, origin: &Origin) -> PathBuf {
        match origin {
            Origin::File => self.report.folder.join(path),
            Origin::Default | Origin::Environment(_) => Path::new(path).to_owned(),
        }
    }

    /// Records a problem, with the variable that caused it, if one did.
    pub(super) fn problem(&mut self, key: &str, mut text: String) {
        if let Some(Node::Value(_, Origin::Environment(name))) = self.table.get(key) {
            text = format!("{text} (set by {name})");
        }
        let key = self.at(key);
        self.report.problems.push(Problem::new(key, text));
    }

    /// Records a warning.
    pub(super) fn warning(&mut self, key: &str, text: impl Into<String>) {
        let key = self.at(key);
        self.report.warnings.push(Problem::new(key, text));
    }

    /// Records what puts real money at risk.
    pub(super) fn hazard(&mut self, key: &str, text: impl Into<String>) {
        let key = self.at(key);
        self.report.hazards.push(Problem::new(key, text));
    }

    /// Records what is in force, as TOML.
    pub(super) fn shown(&mut self, key: &str, value: String, origin: &Origin) {
        let content = sha256_hex(value.as_bytes());
        let line = Line { path: self.path.clone(), key: key.to_owned(), value, origin: origin.clone(), content };
        self.report.lines.push(line);
    }

    /// The same of a value that stands for something else: a secret, or the path of a file.
    pub(super) fn shown_for(&mut self, key: &str, value: String, origin: &Origin, content: &[u8]) {
        self.shown(key, value, origin);
        if let Some(line) = self.report.lines.last_mut() {
            line.content = sha256_hex(content);
        }
    }

    /// The whole name of a key.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// A TOML array of texts, or, from the environment, the same written out or texts between commas.
pub(super) fn texts(value: &Value, origin: &Origin) -> Option<Vec<String>> {
    match (value, origin) {
        (Value::Array(items), _) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        (Value::String(text), Origin::Environment(_)) if text.trim_start().starts_with('[') => {
            let table: toml::Table = toml::from_str(&format!("list = {text}")).ok()?;
            table.get("list")?.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        }
        (Value::String(text), Origin::Environment(_)) => {
            Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
        }
        (_, _) => None,
    }
}

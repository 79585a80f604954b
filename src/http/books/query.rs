//! What the books are asked for: a Beijing day, or the time between two moments.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::http::extract::query::{Params, QueryParams};
use crate::http::problem::{Error, FieldProblem};
use crate::ops::reports::{Language, LedgerPlace};

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1000;
/// Longer than the transaction of any row takes.
const SETTLES: Duration = Duration::from_secs(60);
const END_OF_TIME: Timestamp = Timestamp::from_ms(i64::MAX);

/// Recorded at or after the one and before the other.
#[derive(Debug, Clone, Copy)]
pub struct Between {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Between {
    fn read(params: &Params) -> Result<Between, Error> {
        let day = params.parsed("day", day)?;
        let time = |text: &str| Timestamp::parse_rfc3339(text).map_err(|_| "must be a time like 2026-01-02T03:04:05Z");
        let (from, to) = (params.parsed("from", time)?, params.parsed("to", time)?);
        let invalid = |name, rule: &str| Err(Error::Invalid(vec![FieldProblem::parameter(name, rule)]));
        match day {
            Some(_) if from.is_some() || to.is_some() => invalid("day", "stands without from and to"),
            Some(from) => Ok(Between { from, to: from.next_beijing_midnight() }),
            None if to.zip(from).is_some_and(|(to, from)| to < from) => invalid("to", "is before from"),
            None => Ok(Between { from: from.unwrap_or(Timestamp::from_ms(0)), to: to.unwrap_or(END_OF_TIME) }),
        }
    }

    /// Whether no row can be added any more.
    pub fn is_complete(self, now: Timestamp) -> bool {
        self.to.after(SETTLES) <= now
    }

    /// The end, where there is one.
    pub fn end(self) -> Option<Timestamp> {
        Some(self.to).filter(|to| *to != END_OF_TIME)
    }
}

/// The first moment of a day in Beijing.
pub fn day(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse_beijing_day(text).map_err(|_| "must be a day like 2026-11-27")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Csv,
    Xlsx,
}

pub struct LedgerQuery {
    pub merchant: Option<String>,
    pub between: Between,
    pub after: Option<LedgerPlace>,
    pub limit: u64,
    pub format: Option<Format>,
    pub language: Language,
}

impl QueryParams for LedgerQuery {
    const NAMES: &'static [&'static str] = &["merchant", "day", "from", "to", "after", "limit", "format", "lang"];

    fn read(params: &Params) -> Result<LedgerQuery, Error> {
        let format = params.parsed("format", |text| match text {
            "json" => Ok(Format::Json),
            "csv" => Ok(Format::Csv),
            "xlsx" => Ok(Format::Xlsx),
            _ => Err("must be json, csv or xlsx"),
        })?;
        let language = params.parsed("lang", |text| Language::parse(text).ok_or("must be en or zh"))?;
        Ok(LedgerQuery {
            merchant: params.owned("merchant"),
            between: Between::read(params)?,
            after: params.parsed("after", LedgerPlace::parse)?,
            limit: params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT),
            format,
            language: language.unwrap_or(Language::English),
        })
    }
}

pub struct BalancesQuery {
    pub merchant: Option<String>,
    pub between: Between,
}

impl QueryParams for BalancesQuery {
    const NAMES: &'static [&'static str] = &["merchant", "day", "from", "to"];

    fn read(params: &Params) -> Result<BalancesQuery, Error> {
        Ok(BalancesQuery { merchant: params.owned("merchant"), between: Between::read(params)? })
    }
}

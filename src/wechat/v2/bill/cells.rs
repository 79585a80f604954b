//! A header's columns and a row's cells. A cell begins with a backtick and ends before the next comma and backtick:
//! product names hold commas, quotes mean nothing.

use std::sync::Arc;

use super::decimal::Yuan;
use super::error::{BillError, Flaw};
use crate::clock::Timestamp;
use crate::money::Fen;

/// WeChat's widest bills have 29.
const MAX_COLUMNS: usize = 256;

/// The names of the columns, in the order of this bill.
#[derive(Debug, Clone)]
pub struct Header {
    line: u64,
    names: Vec<Arc<str>>,
}

impl Header {
    /// Names may have a backtick in front; the unit behind some is in brackets of either width and is left out.
    pub fn parse(line: u64, text: &str) -> Result<Header, BillError> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for name in text.split(',') {
            if names.len() == MAX_COLUMNS {
                return Err(BillError::Line { line, flaw: Flaw::TooManyColumns { limit: MAX_COLUMNS } });
            }
            let name = name.trim().trim_start_matches('`');
            let name = name.split(['(', '（']).next().unwrap_or(name).trim();
            if !name.is_empty() && names.iter().any(|known| **known == *name) {
                return Err(BillError::Line { line, flaw: Flaw::RepeatedColumn(shown(name)) });
            }
            names.push(name.into());
        }
        Ok(Header { line, names })
    }

    pub fn has(&self, name: &str) -> bool {
        self.find(&[name]).is_some()
    }

    /// The column of one of these names.
    pub fn find(&self, names: &[&str]) -> Option<usize> {
        self.names.iter().position(|known| names.contains(&&**known))
    }

    /// The column of one of these names, which must be there.
    pub fn require(&self, names: &[&'static str]) -> Result<usize, BillError> {
        let missing = || Flaw::MissingColumn(names.first().copied().unwrap_or_default());
        self.find(names).ok_or_else(|| BillError::Line { line: self.line, flaw: missing() })
    }

    /// The columns that are none of these.
    pub fn others(&self, known: &[Option<usize>]) -> Vec<(usize, Arc<str>)> {
        let named = self.names.iter().cloned().enumerate();
        named.filter(|(at, name)| !name.is_empty() && !known.contains(&Some(*at))).collect()
    }
}

/// The cells of one row.
pub struct Cells<'a> {
    pub line: u64,
    header: &'a Header,
    values: Vec<&'a str>,
}

impl<'a> Cells<'a> {
    pub fn split(header: &'a Header, line: u64, text: &'a str) -> Result<Cells<'a>, BillError> {
        let flawed = |flaw| BillError::Line { line, flaw };
        let text = text.strip_prefix('`').ok_or_else(|| flawed(Flaw::NoBacktick))?;
        let mut values = Vec::with_capacity(header.names.len());
        values.extend(text.split(",`"));
        if values.len() != header.names.len() {
            return Err(flawed(Flaw::Cells { cells: values.len(), columns: header.names.len() }));
        }
        Ok(Cells { line, header, values })
    }

    /// The column's name, within bounds.
    pub fn name(&self, column: usize) -> String {
        self.header.names.get(column).map(|name| shown(name)).unwrap_or_default()
    }

    pub fn error(&self, column: usize, flaw: Flaw) -> BillError {
        BillError::Cell { line: self.line, column: column + 1, name: self.name(column), flaw }
    }

    pub fn text(&self, column: usize) -> &'a str {
        self.values.get(column).copied().unwrap_or_default()
    }

    /// Empty where there is no such column.
    pub fn optional(&self, column: Option<usize>) -> &'a str {
        column.map(|column| self.text(column)).unwrap_or_default()
    }

    /// An own copy; `0` and nothing at all are both WeChat's word for none.
    pub fn number(&self, column: Option<usize>) -> Option<String> {
        Some(self.optional(column).trim()).filter(|text| !text.is_empty() && *text != "0").map(str::to_owned)
    }

    /// What must be there.
    pub fn required(&self, column: usize) -> Result<String, BillError> {
        match self.text(column).trim() {
            "" => Err(self.error(column, Flaw::Nothing)),
            text => Ok(text.to_owned()),
        }
    }

    pub fn fen(&self, column: usize) -> Result<Fen, BillError> {
        Fen::from_yuan(self.text(column).trim()).map_err(|_| self.error(column, Flaw::NotAnAmount))
    }

    /// Zero where the column is missing or empty.
    pub fn fen_or_zero(&self, column: Option<usize>) -> Result<Fen, BillError> {
        match column {
            Some(column) if !self.text(column).trim().is_empty() => self.fen(column),
            _ => Ok(Fen::ZERO),
        }
    }

    pub fn yuan(&self, column: usize) -> Result<Yuan, BillError> {
        Yuan::parse(self.text(column).trim()).map_err(|_| self.error(column, Flaw::NotAnAmount))
    }

    /// A number of rows, which may be written as `45.0`.
    pub fn count(&self, column: usize) -> Result<u64, BillError> {
        let wrong = || self.error(column, Flaw::NotACount);
        let yuan = Yuan::parse(self.text(column).trim()).map_err(|_| wrong())?;
        let whole = yuan.units() % 100_000 == 0;
        u64::try_from(yuan.units() / 100_000).ok().filter(|_| whole).ok_or_else(wrong)
    }

    pub fn time(&self, column: usize) -> Result<Timestamp, BillError> {
        let text = self.text(column).trim();
        let parsed = if text.is_ascii() {
            Timestamp::parse_beijing_spaced(text)
        } else {
            Timestamp::parse_beijing_spaced(&text.replace('：', ":"))
        };
        parsed.map_err(|_| self.error(column, Flaw::NotATime))
    }

    pub fn optional_time(&self, column: Option<usize>) -> Result<Option<Timestamp>, BillError> {
        match column {
            Some(column) if !matches!(self.text(column).trim(), "" | "0") => self.time(column).map(Some),
            _ => Ok(None),
        }
    }
}

/// A name as error texts have it.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(32).collect()
}

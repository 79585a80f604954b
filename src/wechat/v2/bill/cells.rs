//! A header's columns and a row's cells. A cell begins with a backtick and ends before the next comma and backtick:
//! product names hold commas, quotes mean nothing.

use std::fmt;
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
    units: Vec<Unit>,
}

/// In what the amounts of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// `元`, and wherever the name says nothing.
    Yuan,
    /// `分`: whole fen.
    Fen,
    /// Another word: what an amount means there is not known.
    Unknown,
}

impl Unit {
    /// By the words in brackets behind a column's name.
    fn of(words: &str) -> Unit {
        let words = words.trim().trim_end_matches([')', '）']);
        let words = words.strip_prefix("单位").map_or(words, |rest| rest.trim_start_matches([':', '：']));
        match words.trim() {
            "" | "元" => Unit::Yuan,
            "分" => Unit::Fen,
            _ => Unit::Unknown,
        }
    }
}

impl Header {
    /// Names may have a backtick in front; the unit behind some is in brackets of either width.
    pub fn parse(line: u64, text: &str) -> Result<Header, BillError> {
        let (mut names, mut units): (Vec<Arc<str>>, Vec<Unit>) = (Vec::new(), Vec::new());
        for name in text.split(',') {
            if names.len() == MAX_COLUMNS {
                return Err(BillError::Line { line, flaw: Flaw::TooManyColumns { limit: MAX_COLUMNS } });
            }
            let name = name.trim().trim_start_matches('`');
            let (name, unit) = name.split_once(['(', '（']).unwrap_or((name, ""));
            let name = name.trim();
            if !name.is_empty() && names.iter().any(|known| **known == *name) {
                return Err(BillError::Line { line, flaw: Flaw::RepeatedColumn(shown(name)) });
            }
            names.push(name.into());
            units.push(Unit::of(unit));
        }
        Ok(Header { line, names, units })
    }

    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| **known == *name)
    }

    /// The column of one of these names, which mean the same: two of them in one header leave open which counts.
    pub fn find(&self, names: &[&'static str]) -> Result<Option<usize>, BillError> {
        let mut found = self.names.iter().enumerate().filter(|(_, known)| names.contains(&&***known));
        match (found.next(), found.next()) {
            (Some((_, one)), Some((_, other))) => {
                let flaw = Flaw::SameColumns(shown(one), shown(other));
                Err(BillError::Line { line: self.line, flaw })
            }
            (first, _) => Ok(first.map(|(at, _)| at)),
        }
    }

    /// The column of one of these names, which must be there.
    pub fn require(&self, names: &[&'static str]) -> Result<usize, BillError> {
        let missing = || Flaw::MissingColumn(names.first().copied().unwrap_or_default());
        self.find(names)?.ok_or_else(|| BillError::Line { line: self.line, flaw: missing() })
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

    /// Those of these columns.
    pub fn others(&self, columns: &[(usize, Arc<str>)]) -> Vec<OtherCell> {
        let cell = |(column, name): &(usize, Arc<str>)| OtherCell {
            name: Arc::clone(name),
            text: self.text(*column).to_owned(),
        };
        columns.iter().map(cell).collect()
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

    /// An amount of either sign.
    pub fn fen(&self, column: usize) -> Result<Fen, BillError> {
        let text = self.text(column).trim();
        match self.unit(column)? {
            Unit::Fen => whole_fen(text),
            Unit::Yuan | Unit::Unknown => Fen::from_yuan(text).ok(),
        }
        .ok_or_else(|| self.error(column, Flaw::NotAnAmount))
    }

    /// An amount that cannot be below zero: which way the money went is said by the kind of the row.
    pub fn unsigned_fen(&self, column: usize) -> Result<Fen, BillError> {
        let fen = self.fen(column)?;
        if fen < Fen::ZERO { Err(self.error(column, Flaw::Negative)) } else { Ok(fen) }
    }

    /// Zero where the column is missing or empty.
    pub fn unsigned_fen_or_zero(&self, column: Option<usize>) -> Result<Fen, BillError> {
        match column {
            Some(column) if !self.text(column).trim().is_empty() => self.unsigned_fen(column),
            _ => Ok(Fen::ZERO),
        }
    }

    /// An amount of either sign, such as a fee.
    pub fn yuan(&self, column: usize) -> Result<Yuan, BillError> {
        let text = self.text(column).trim();
        match self.unit(column)? {
            Unit::Fen => whole_fen(text).and_then(Yuan::of_fen),
            Unit::Yuan | Unit::Unknown => Yuan::parse(text).ok(),
        }
        .ok_or_else(|| self.error(column, Flaw::NotAnAmount))
    }

    fn unit(&self, column: usize) -> Result<Unit, BillError> {
        match self.header.units.get(column).copied().unwrap_or(Unit::Yuan) {
            Unit::Unknown => Err(self.error(column, Flaw::UnknownUnit)),
            unit => Ok(unit),
        }
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

/// A cell of an unknown column. It may hold anything: `Debug` shows its name.
#[derive(Clone, PartialEq, Eq)]
pub struct OtherCell {
    /// As the header has it.
    pub name: Arc<str>,
    pub text: String,
}

impl fmt::Debug for OtherCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OtherCell({})", self.name)
    }
}

/// Fen, perhaps below zero; a bill may write a whole number as `5.0`.
fn whole_fen(text: &str) -> Option<Fen> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let digits = digits.strip_suffix(".00").or_else(|| digits.strip_suffix(".0")).unwrap_or(digits);
    let fen = Fen::parse_field(digits).ok()?;
    Some(Fen::from_i64(sign * fen.as_i64()))
}

/// A name as error texts have it.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(32).collect()
}

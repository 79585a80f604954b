//! What a cell of a sheet holds, the same in every kind of file.

use crate::clock::Timestamp;

/// A value of a sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Empty,
    /// Words and identifiers: never a formula, a number or a date.
    Text(String),
    /// Beijing time.
    Time(Timestamp),
    /// A day in Beijing, `2026-11-27`.
    Day(String),
    /// An amount in the smallest unit of its currency.
    Money(i64, String),
    Count(i64),
    /// A decimal in the main unit, as a bill writes it: `0.54000`.
    Decimal(String),
}

impl Cell {
    pub fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    /// A text, where there is one.
    pub fn optional(text: Option<impl Into<String>>) -> Cell {
        text.map_or(Cell::Empty, |text| Cell::Text(text.into()))
    }

    pub fn yuan(fen: i64) -> Cell {
        Cell::Money(fen, "CNY".to_owned())
    }
}

/// The language of heads and words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

impl Language {
    pub fn parse(text: &str) -> Option<Language> {
        match text {
            "en" => Some(Language::English),
            "zh" => Some(Language::Chinese),
            _ => None,
        }
    }

    pub fn pick<T>(self, chinese: T, english: T) -> T {
        match self {
            Language::Chinese => chinese,
            Language::English => english,
        }
    }
}

/// `2026-11-27 10:00:00`, as in WeChat's bills.
pub fn time(at: Timestamp) -> String {
    let t = at.to_beijing();
    format!("{}-{}-{} {}:{}:{}", &t[..4], &t[4..6], &t[6..8], &t[8..10], &t[10..12], &t[12..14])
}

/// In the main unit: two decimals, except for currencies that have no smaller unit.
pub fn amount(fen: i64, currency: &str) -> String {
    if has_no_fen(currency) {
        return fen.to_string();
    }
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", (fen / 100).unsigned_abs(), (fen % 100).unsigned_abs())
}

pub fn has_no_fen(currency: &str) -> bool {
    matches!(currency, "JPY" | "KRW")
}

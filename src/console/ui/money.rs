//! Amounts: whole fen, shown exactly.

use std::fmt;

use askama::filters::HtmlSafe;

/// An amount in the smallest unit of its currency, CNY where none is named.
#[derive(Debug, Clone)]
pub struct Money(i64, Option<String>);

impl Money {
    pub const fn yuan(fen: i64) -> Money {
        Money(fen, None)
    }

    /// What is of another currency is not shown as yuan.
    pub fn of(amount: i64, currency: &str) -> Money {
        let letters = || currency.chars().filter(char::is_ascii_alphanumeric).collect();
        Money(amount, (currency != "CNY").then(letters))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "−" } else { "" };
        match &self.1 {
            None => write!(f, "<span class=\"money\">{}</span>", yuan(self.0)),
            Some(currency) => write!(f, "<span class=\"money\">{sign}{} {currency}</span>", self.0.unsigned_abs()),
        }
    }
}

/// Digits, letters and signs only.
impl HtmlSafe for Money {}

/// `¥1,234.56`, `−¥0.05`.
pub fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "−" } else { "" };
    let (whole, cents) = (fen.unsigned_abs() / 100, fen.unsigned_abs() % 100);
    format!("{sign}¥{}.{cents:02}", grouped(whole))
}

/// `1,234,567`
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

//! Sheets as CSV: UTF-8 with a byte order mark, no text that a spreadsheet takes for a formula, a number or a date.

use super::cell::{Cell, amount, time};

/// A spreadsheet takes a file without it for one in the system's old coding.
pub const BOM: char = '\u{feff}';

/// The head of a table.
pub fn head(names: &[&str]) -> String {
    format!("{BOM}{}\r\n", names.join(","))
}

/// Appends a row.
pub fn write(text: &mut String, row: &[Cell]) {
    for (i, cell) in row.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        match cell {
            Cell::Empty => {}
            Cell::Text(words) => text.push_str(&safe(words)),
            Cell::Time(at) => text.push_str(&time(*at)),
            Cell::Day(day) => text.push_str(day),
            Cell::Money(fen, currency) => text.push_str(&amount(*fen, currency)),
            Cell::Count(n) => text.push_str(&n.to_string()),
            Cell::Decimal(decimal) => text.push_str(&safe_decimal(decimal)),
        }
    }
    text.push_str("\r\n");
}

/// A text cell. One that begins like a formula, a number or a date is marked as text by an apostrophe before it.
pub fn safe(cell: &str) -> String {
    let marked = cell.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r'));
    let cell = if marked { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// A number as it is; anything else as a text.
fn safe_decimal(decimal: &str) -> String {
    if is_decimal(decimal) { decimal.to_owned() } else { safe(decimal) }
}

/// Digits, with one point between them and a minus before them at most.
pub fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str| !part.is_empty() && part.len() <= 15 && part.bytes().all(|b| b.is_ascii_digit());
    is_number(whole) && is_number(part)
}

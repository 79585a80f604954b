//! What is printed: tables for people, JSON for programs.

use std::io::{IsTerminal, Write, stderr, stdout};

use serde_json::Value;

use super::exit::Failure;
use crate::config::no_color;

/// Writes data to stdout and notes to stderr.
pub struct Printer {
    json: bool,
    bold: bool,
}

/// A column: its head, and where its value is in a row, as a JSON pointer.
pub type Column = (&'static str, &'static str);

impl Printer {
    pub fn new(json: bool) -> Printer {
        Printer { json, bold: stdout().is_terminal() && !no_color() }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Data as one line of JSON.
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(&value.to_string())
    }

    /// Data as it is.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(stdout(), "{text}")?;
        Ok(())
    }

    /// Data as it came.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        stdout().write_all(bytes)?;
        Ok(())
    }

    /// For people, also where the data goes into a pipe.
    pub fn note(&mut self, text: &str) {
        let _ = writeln!(stderr(), "{text}");
    }

    /// Rows under their heads; `none` instead of an empty table.
    pub fn table(&mut self, rows: &[Value], columns: &[Column], none: &str) -> Result<(), Failure> {
        if rows.is_empty() {
            self.note(none);
            return Ok(());
        }
        let cells: Vec<Vec<String>> =
            rows.iter().map(|row| columns.iter().map(|(_, pointer)| cell(row, pointer)).collect()).collect();
        let widths: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(i, (head, _))| cells.iter().map(|row| width(&row[i])).chain([width(head)]).max().unwrap_or_default())
            .collect();
        let heads: Vec<String> = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
        let head = aligned(&heads, &widths);
        let head = if self.bold { format!("\x1b[1m{head}\x1b[0m") } else { head };
        self.line(&head)?;
        for row in &cells {
            self.line(&aligned(row, &widths))?;
        }
        Ok(())
    }

    /// One row without a head.
    pub fn row(&mut self, row: &Value, columns: &[Column]) -> Result<(), Failure> {
        let cells: Vec<String> = columns.iter().map(|(_, pointer)| cell(row, pointer)).collect();
        self.line(cells.join("  ").trim_end())
    }

    /// In the place of the progress before. On a terminal only.
    pub fn progress(&mut self, text: &str) {
        let _ = write!(stderr(), "\r{text}");
        let _ = stderr().flush();
    }

    /// One row, a line per column.
    pub fn record(&mut self, row: &Value, columns: &[Column]) -> Result<(), Failure> {
        let widest = columns.iter().map(|(head, _)| head.len()).max().unwrap_or_default();
        for (head, pointer) in columns {
            let text = cell(row, pointer);
            if !text.is_empty() {
                self.line(&format!("{head:widest$}  {text}"))?;
            }
        }
        Ok(())
    }
}

fn aligned(cells: &[String], widths: &[usize]) -> String {
    let padded =
        cells.iter().zip(widths).map(|(cell, w)| format!("{cell}{}", " ".repeat(w.saturating_sub(width(cell)))));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// Columns on a terminal: a Chinese character takes two.
fn width(text: &str) -> usize {
    text.chars().map(|c| if ('\u{1100}'..='\u{115f}').contains(&c) || c >= '\u{2e80}' { 2 } else { 1 }).sum()
}

/// A value as people read it. What a stranger wrote cannot move the cursor.
fn cell(row: &Value, pointer: &str) -> String {
    let text = match row.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        Some(Value::Number(fen)) if pointer.ends_with("_fen") => yuan(fen.as_i64().unwrap_or_default()),
        Some(other) => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Fen as yuan: `¥1,234.56`.
fn yuan(fen: i64) -> String {
    let whole = (fen / 100).unsigned_abs().to_string();
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}¥{grouped}.{:02}", (fen % 100).unsigned_abs())
}

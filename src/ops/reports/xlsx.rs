//! Sheets as XLSX: texts as texts, dates as dates, amounts as numbers in the main unit.
//!
//! What must stay true: a row is written to a temporary file and forgotten, so that memory does not grow with the rows;
//! the files are removed whatever happens.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::path::Path;

use rust_xlsxwriter::{ExcelDateTime, Format, Workbook, Worksheet, XlsxError};
use tokio::sync::mpsc;

use super::cell::{Cell, has_no_fen};
use super::csv::is_decimal;
use crate::clock::Timestamp;
use crate::secret::random_text;

/// A sheet has 1,048,576 rows at most; the next ones go on to another sheet.
const SHEET_ROWS: u32 = 1_000_000;
/// The longest text of a cell, in UTF-16 code units.
const CELL_UNITS: usize = 32_767;
/// Columns' width in characters.
const WIDTH: u16 = 18;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    #[error("the sheet cannot be written: {0}")]
    Write(#[from] XlsxError),
    #[error("the temporary file cannot be written: {0}")]
    File(#[from] std::io::Error),
}

/// The formats of a workbook.
struct Formats {
    head: Format,
    text: Format,
    time: Format,
    day: Format,
    money: Format,
    whole: Format,
    decimal: Format,
}

/// Writes rows until their sender is gone, and returns the file, which has no name any more. Blocks.
pub fn write(
    dir: &Path,
    (name, heads): (&str, &[&str]),
    rows: &mut mpsc::Receiver<Vec<Vec<Cell>>>,
) -> Result<File, SheetError> {
    let mut workbook = Workbook::new();
    workbook.set_tempdir(dir)?;
    let formats = Formats {
        head: Format::new().set_bold().set_num_format("@"),
        text: Format::new().set_num_format("@"),
        time: Format::new().set_num_format("yyyy-mm-dd hh:mm:ss"),
        day: Format::new().set_num_format("yyyy-mm-dd"),
        money: Format::new().set_num_format("0.00"),
        whole: Format::new().set_num_format("0"),
        decimal: Format::new().set_num_format("0.00###"),
    };
    let (mut sheets, mut waiting) = (0, None);
    loop {
        sheets += 1;
        let sheet = workbook.add_worksheet_with_constant_memory();
        sheet.set_name(if sheets == 1 { name.to_owned() } else { format!("{name} {sheets}") })?;
        waiting = fill(sheet, &formats, heads, waiting, rows)?;
        if waiting.is_none() {
            break;
        }
    }
    let mut file = unnamed(dir)?;
    workbook.save_to_writer(&mut file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// Fills a sheet with rows; returns those that it has no room for.
fn fill(
    sheet: &mut Worksheet,
    formats: &Formats,
    heads: &[&str],
    waiting: Option<Vec<Vec<Cell>>>,
    rows: &mut mpsc::Receiver<Vec<Vec<Cell>>>,
) -> Result<Option<Vec<Vec<Cell>>>, SheetError> {
    for column in (0_u16..).take(heads.len()) {
        sheet.set_column_width(column, WIDTH)?;
    }
    sheet.set_freeze_panes(1, 0)?;
    for (column, head) in (0..).zip(heads) {
        sheet.write_string_with_format(0, column, *head, &formats.head)?;
    }
    let (mut at, mut next) = (1, waiting);
    loop {
        let Some(mut batch) = next.take().or_else(|| rows.blocking_recv()) else { return Ok(None) };
        let room = usize::try_from(SHEET_ROWS.saturating_sub(at)).unwrap_or_default();
        let left = batch.split_off(batch.len().min(room));
        for row in batch {
            for (column, cell) in (0..).zip(&row) {
                put(sheet, formats, (at, column), cell)?;
            }
            at += 1;
        }
        if !left.is_empty() {
            return Ok(Some(left));
        }
    }
}

fn put(sheet: &mut Worksheet, formats: &Formats, (row, column): (u32, u16), cell: &Cell) -> Result<(), XlsxError> {
    match cell {
        Cell::Empty => {}
        Cell::Text(text) => {
            sheet.write_string_with_format(row, column, shortened(text), &formats.text)?;
        }
        // The format has no dates before 1900: they are texts.
        Cell::Time(at) => match moment(*at) {
            Ok(moment) => _ = sheet.write_datetime_with_format(row, column, moment, &formats.time)?,
            Err(_) => _ = sheet.write_string_with_format(row, column, at.to_beijing(), &formats.text)?,
        },
        Cell::Day(day) => match date(day) {
            Ok(date) => _ = sheet.write_datetime_with_format(row, column, date, &formats.day)?,
            Err(_) => _ = sheet.write_string_with_format(row, column, day, &formats.text)?,
        },
        Cell::Money(fen, currency) => {
            let format = if has_no_fen(currency) { &formats.whole } else { &formats.money };
            number(sheet, (row, column), &super::cell::amount(*fen, currency), format)?;
        }
        Cell::Count(n) => number(sheet, (row, column), &n.to_string(), &formats.whole)?,
        Cell::Decimal(decimal) if is_decimal(decimal) => {
            number(sheet, (row, column), decimal, &formats.decimal)?;
        }
        Cell::Decimal(text) => {
            sheet.write_string_with_format(row, column, shortened(text), &formats.text)?;
        }
    }
    Ok(())
}

/// A decimal as the nearest number that the format has: nothing is computed with it.
fn number(sheet: &mut Worksheet, (row, column): (u32, u16), text: &str, format: &Format) -> Result<(), XlsxError> {
    match text.parse::<f64>() {
        Ok(number) => sheet.write_number_with_format(row, column, number, format)?,
        Err(_) => sheet.write_string_with_format(row, column, text, format)?,
    };
    Ok(())
}

fn shortened(text: &str) -> String {
    let mut units = 0;
    let kept = text.chars().take_while(|c| {
        units += c.len_utf16();
        units <= CELL_UNITS
    });
    kept.collect()
}

fn part(text: &str, range: std::ops::Range<usize>) -> u16 {
    text.get(range).and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

fn small(text: &str, range: std::ops::Range<usize>) -> u8 {
    u8::try_from(part(text, range)).unwrap_or_default()
}

fn moment(at: Timestamp) -> Result<ExcelDateTime, XlsxError> {
    let t = at.to_beijing();
    let day = ExcelDateTime::from_ymd(part(&t, 0..4), small(&t, 4..6), small(&t, 6..8))?;
    day.and_hms(part(&t, 8..10), small(&t, 10..12), f64::from(small(&t, 12..14)))
}

fn date(day: &str) -> Result<ExcelDateTime, XlsxError> {
    ExcelDateTime::from_ymd(part(day, 0..4), small(day, 5..7), small(day, 8..10))
}

/// A file that is gone when it is closed.
fn unnamed(dir: &Path) -> Result<File, std::io::Error> {
    let path = dir.join(format!("sheet-{}.xlsx", random_text(16)));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

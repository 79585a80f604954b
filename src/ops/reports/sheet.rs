//! A sheet before it is a file: its heads, and its rows in batches.

use futures_util::stream::BoxStream;

use super::cell::Cell;
use crate::store::DbError;

/// Rows that are in memory at once.
pub type Batch = Vec<Vec<Cell>>;

/// A table for a file.
pub struct Sheet {
    /// Of the file, without its extension. ASCII.
    pub file_name: String,
    /// Of the tab in a workbook; 28 characters at most.
    pub tab: &'static str,
    pub heads: Vec<String>,
    pub rows: BoxStream<'static, Result<Batch, DbError>>,
}

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Csv,
    Xlsx,
}

named!(FileKind { Csv = "csv", Xlsx = "xlsx" });

impl FileKind {
    pub const fn media_type(self) -> &'static str {
        match self {
            FileKind::Csv => "text/csv; charset=utf-8",
            FileKind::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }
}

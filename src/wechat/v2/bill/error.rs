//! Why a bill cannot be read: where, and what is wrong there. Texts name lines and columns and no contents.

use super::decimal::Yuan;
use super::refusal::Refusal;

/// Why a bill is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BillError {
    /// An answer in place of a bill, such as "No Bill Exist".
    #[error("WeChat answered in place of a bill: {0}")]
    Refused(Refusal),
    /// Neither a bill nor an answer of WeChat's, such as a gateway's page.
    #[error("neither a bill nor an answer of WeChat's: {0}")]
    NotABill(String),
    /// Something about a whole line.
    #[error("line {line}: {flaw}")]
    Line {
        /// From 1, the header included.
        line: u64,
        flaw: Flaw,
    },
    /// Something about one cell.
    #[error("line {line}, column {column} ({name}): {flaw}")]
    Cell {
        /// From 1, the header included.
        line: u64,
        /// From 1.
        column: usize,
        /// As the header has it.
        name: String,
        flaw: Flaw,
    },
    /// The summary contradicts the rows.
    #[error("the summary has {says} as {name}, the rows come to {sum}")]
    Sum {
        /// The summary's column.
        name: String,
        /// What stands there.
        says: Yuan,
        /// What it should be.
        sum: Yuan,
    },
    /// The summary counts other rows than there are.
    #[error("the summary counts {says} as {name}, there are {rows}")]
    Count {
        /// The summary's column.
        name: String,
        /// What stands there.
        says: u64,
        /// What it should be.
        rows: u64,
    },
    /// The end is missing.
    #[error("the bill ends after line {line} without its summary: it is cut short")]
    CutShort {
        /// The last one.
        line: u64,
    },
    /// No bytes at all.
    #[error("there is nothing to read")]
    Empty,
    /// The source failed.
    #[error("the bill cannot be read: {0}")]
    Io(String),
}

/// What is wrong in a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("not UTF-8")]
    NotText,
    #[error("longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("more than {limit} rows")]
    TooManyRows { limit: u64 },
    #[error("more than {limit} columns")]
    TooManyColumns { limit: usize },
    #[error("not the header of this kind of bill")]
    NotTheHeader,
    #[error("the column {0} is missing")]
    MissingColumn(&'static str),
    #[error("the column {0} appears twice")]
    RepeatedColumn(String),
    #[error("the columns {0} and {1} are the same one")]
    SameColumns(String, String),
    #[error("the row has {cells} cells, the header {columns} columns")]
    Cells { cells: usize, columns: usize },
    #[error("the row does not begin with a backtick")]
    NoBacktick,
    #[error("not an amount")]
    NotAnAmount,
    #[error("a negative amount")]
    Negative,
    #[error("not known in which unit")]
    UnknownUnit,
    #[error("not a whole number")]
    NotACount,
    #[error("not a time")]
    NotATime,
    #[error("nothing stands there")]
    Nothing,
    #[error("not a known state of a trade")]
    UnknownState,
    #[error("neither income nor expense")]
    UnknownDirection,
    #[error("a refund in a layout without columns for refunds")]
    RefundWithoutColumns,
    #[error("of another day")]
    OtherDay,
    #[error("of another merchant")]
    OtherMerchant,
    #[error("not a row of this type of bill")]
    OtherBill,
    #[error("the sum is too large")]
    SumTooLarge,
    #[error("text behind the summary")]
    BehindTheSummary,
}

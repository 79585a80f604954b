//! The data of events about bills.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::Timestamp;

/// A day's bill was compared with the books, and the result is not the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BillReconciled {
    /// The Beijing day.
    pub day: String,
    /// `balanced`, `explained` or `red`.
    pub state: &'static str,
    pub bill: BillSums,
    pub ledger: LedgerSums,
    /// Lines by class; a class without lines is left out.
    pub classes: BTreeMap<String, i64>,
    /// Lines that must be explained.
    pub differences: i64,
    /// Lines that are not.
    pub open: i64,
    pub unexplained_fen: i64,
    /// The sums of other currencies than yuan, by currency: nothing above has money of them.
    pub others: BTreeMap<String, CurrencySums>,
}

/// Both sides in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CurrencySums {
    pub bill: BillSums,
    pub ledger: LedgerSums,
    pub unexplained_fen: i64,
}

/// A day's bill could not be fetched, read or compared: the result before it stays. Sent when the reason is another
/// than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BillFailed {
    /// The Beijing day.
    pub day: String,
    /// In words for people.
    pub error: String,
    /// When it is tried again; none where that is of no use.
    pub next_try_at: Option<Timestamp>,
}

/// The bill's sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BillSums {
    pub rows: i64,
    pub payments_fen: i64,
    pub refunds_fen: i64,
    /// In yuan, as in the bill.
    pub fees: String,
}

/// Our sums of the same day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerSums {
    pub rows: i64,
    pub payments_fen: i64,
    pub refunds_fen: i64,
}

/// A difference that the result before did not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BillMismatch {
    /// The Beijing day.
    pub day: String,
    /// The number of the line, for `resolve` and `repair`.
    pub line: i64,
    pub class: &'static str,
    /// `payment` or `refund`.
    pub kind: &'static str,
    /// `open` or `covered`, or `resolved` where a note was kept.
    pub resolution: &'static str,
    pub order_no: Option<String>,
    pub transaction_id: String,
    pub out_trade_no: Option<String>,
    pub refund_no: Option<String>,
    pub refund_id: Option<String>,
    pub bill_fen: Option<i64>,
    pub bill_currency: Option<String>,
    pub ledger_fen: Option<i64>,
    pub ledger_currency: Option<String>,
    /// The bill's amount less ours, as it changes the total. Where both are in different currencies, the bill's.
    pub explains_fen: i64,
    /// Ours then, in our currency.
    pub explains_ours_fen: Option<i64>,
}

//! The data of events about bills.

use std::collections::BTreeMap;

use serde::Serialize;

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
    pub ledger_fen: Option<i64>,
    /// The bill's amount less ours, as it changes the total.
    pub explains_fen: i64,
}

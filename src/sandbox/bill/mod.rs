//! The simulated WeChat's bills: of its own ledger, in WeChat's layouts, with differences where the tester planted
//! some.
//!
//! A bill of a day holds what was paid and which refunds were accepted on that day in Beijing; a refund's state in it
//! is that of the morning on which the bill was made, whatever became of the refund later.

pub(super) mod day;
pub(super) mod differences;
pub(super) mod form;
pub(super) mod fund_rows;
pub(super) mod layout;
pub(super) mod spoil;
pub(super) mod trade_rows;

//! For finance: the ledger of a day, the reconciliation's calendar, months, and files.

pub mod calendar;
pub mod day;
pub mod export;
pub mod ledger;
pub mod months;
mod words;

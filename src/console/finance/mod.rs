//! For finance: the ledger of a day, the reconciliation's calendar, months, repairs, and files.

pub mod ask;
pub mod calendar;
pub mod day;
pub mod explain;
pub mod export;
pub mod ledger;
mod lines;
mod mends;
pub mod months;
mod progress;
pub mod repair;
mod words;

//! The books: ledger rows and balances of a day, for finance.

pub(crate) mod balances;
pub(crate) mod daily;
pub(crate) mod file;
pub(crate) mod ledger;
mod query;

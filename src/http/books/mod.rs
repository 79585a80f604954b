//! The books: ledger rows and balances of a day, for finance.

pub(crate) mod balances;
mod csv;
pub(crate) mod ledger;
mod page;
mod query;

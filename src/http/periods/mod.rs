//! Months: their figures, closing and reopening them.

pub(crate) mod change;
pub(crate) mod list;
mod month;

//! Reconciliations for finance: days, their bills, lines, notes and repairs.

pub(crate) mod bill;
pub(crate) mod explain;
pub(crate) mod lines;
pub(crate) mod list;
mod path;
mod request;
pub(crate) mod view;

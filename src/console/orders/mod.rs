//! The list of orders, and the search for one.

mod list;
mod query;
mod words;

pub use list::{flags, list, seen, status};

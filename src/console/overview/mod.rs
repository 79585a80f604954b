//! The first page.

mod chart;
pub mod page;
pub mod shared;
mod words;

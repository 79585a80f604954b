//! The first page.

pub mod chart;
pub mod page;
pub mod shared;
mod words;

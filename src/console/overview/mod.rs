//! The first page.

pub mod page;
mod words;

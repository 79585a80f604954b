//! The store, on both databases.

mod due;
mod jobs;
pub mod orders;
mod payments;
mod retention;
mod tokens;
pub mod web;
mod writer;

pub use orders::new_order;

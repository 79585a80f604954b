//! The store, on both databases.

mod call_rates;
mod due;
pub mod jobs;
mod lists;
pub mod orders;
mod payments;
mod refunds_of_no_order;
mod reported;
mod retention;
mod schema;
mod tokens;
pub mod web;
mod writer;
mod writer_lanes;

pub use orders::{change, new_order, order_no};

//! The steps since operators have an interface.

pub mod m20261130_000030_operations;
pub mod m20261130_000050_history;

//! What every implementation of a port must do, and what one of them must do besides.

#[macro_use]
mod on_every_bus;
#[macro_use]
mod on_both_databases;
mod bus;
mod bus_delivery;
mod bus_jetstream;
mod bus_parking;
mod bus_rules;
mod clocks;
mod store;
mod store_jobs;
mod store_tokens;
mod store_web;
mod store_writer;

pub use store::new_order;

//! What every implementation of a port must do, and what one of them must do besides.

#[macro_use]
mod on_every_bus;
#[macro_use]
mod on_both_databases;
mod audit;
mod bus;
mod clocks;
mod console;
mod feed;
mod lock_order;
mod noticed;
mod notifications;
mod readers;
mod relayed;
mod round_trips;
mod store;
mod unreadable;

pub use store::{change, new_order, order_no};

//! Refunds at the simulator.

mod currency;
mod notifications;
pub mod parts;
mod query;
mod requests;
mod sdk;
mod wire;

//! The decision: every state of an order and its attempt against every fact.

mod asking;
mod diagram;
pub mod dice;
mod given_back;
mod never_placed;
mod properties;
mod refunds;
mod setup_refused;
mod support;
mod table;
mod three_sources;

//! The decision: every state of an order and its attempt against every fact.

mod properties;
mod support;
mod table;

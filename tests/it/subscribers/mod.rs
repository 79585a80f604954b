//! The users of NATS as they are shipped: what each may do and what not, the service under its own, and the examples of
//! consumers under theirs; the example that reads the feed over HTTP; a database that changes its bus.

mod examples;
mod feed;
mod moved;
mod permissions;
pub mod program;
mod service;
mod support;

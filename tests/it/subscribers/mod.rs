//! The users of NATS as they are shipped: what each may do and what not, the service under its own, and the examples of
//! consumers under theirs.

mod examples;
mod permissions;
mod service;
mod support;

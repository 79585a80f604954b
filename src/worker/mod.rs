//! The workers: what happens when a message arrives. One file per kind of message.
//!
//! Every handler may run twice, at the same time, in two processes. None holds a database transaction while it talks to
//! WeChat.

mod apply;
mod configuration;
mod context;
mod handlers;
mod news;
mod parking;
mod place;
mod prepare_order;
mod query;
mod refunds;
mod requests;
mod settle;
mod trouble;
mod working;

pub use context::Context;
pub use handlers::run;
pub use parking::StoreParking;

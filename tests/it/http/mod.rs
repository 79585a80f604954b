//! The HTTP interface of the business over a real socket, a SQLite file and the embedded bus.

pub mod client;
mod feed;
mod health;
mod hostile;
mod mweb;
mod notify;
mod ops_jobs;
mod ops_reasons;
mod orders;
mod room;
mod schemas;
pub mod stage;
mod streams;
mod waiting;

//! The bus on NATS JetStream.
//!
//! It is not a NATS client for others: nothing outside this folder knows `async_nats`. What must stay true: only a
//! server's acknowledgement counts, because publishes are buffered while the connection is down; and streams that are
//! gone (a wiped store) are recreated by the first process that notices.

mod advisory;
mod bundles;
mod connect;
mod connection;
mod core;
mod headers;
mod inspect;
mod provision;
mod publisher;
mod purge;
mod readers;
mod sending;
mod subscription;
mod varz;

pub(super) use connection::JetStream;
pub(super) use inspect::inspect;

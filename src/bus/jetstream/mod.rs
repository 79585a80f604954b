//! The bus on NATS JetStream.
//!
//! It is not a NATS client for others: nothing outside this folder knows `async_nats`. What must stay true: only a
//! server's acknowledgement counts, because publishes are buffered while the connection is down; and streams that are gone (a wiped
//! store) are made again by whoever notices first.

mod attach;
mod connection;
mod publisher;
mod rescue;
mod shape;
mod space;
mod supply;
mod varz;
mod wire;

pub(super) use self::connection::JetStream;
pub(super) use self::supply::{Receipt, Supply};

//! The HTTP server below the routes: connections, their clocks, who may have how many.

mod answer;
mod bodies;
pub mod connection;
mod connections;
mod descriptors;
mod listeners;
mod serve;

pub use bodies::Bodies;
pub use connection::Remote;
pub use descriptors::{raise_limit, shared_with_notifications, within_files};
pub use listeners::{CannotListen, Listeners};
pub use serve::{OfListener, serve};

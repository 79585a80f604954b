//! The HTTP server below the routes: connections, their clocks, who may have how many.

mod answer;
pub mod connection;
mod connections;
mod descriptors;
mod listeners;
mod serve;

pub use connection::Remote;
pub use connections::Bodies;
pub use descriptors::{raise_limit, shared_with_notifications, within_files};
pub use listeners::{CannotListen, Listeners};
pub use serve::{OfListener, serve};

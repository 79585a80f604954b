//! The HTTP server below the routes: connections, their clocks, who may have how many.

mod answer;
pub mod connection;
mod connections;
mod descriptors;
mod serve;

pub use connection::Remote;
pub use descriptors::{raise_limit, within_files};
pub use serve::serve;

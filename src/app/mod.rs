//! The composition root: from a configuration to running roles, and from a signal to a clean shutdown.
//!
//! Every role can run in a separate process; roles share only the database and the bus.

mod error;
mod intake;
mod reloader;
mod roles;
mod service;

pub use error::AppError;
pub use reloader::Reloader;
pub use roles::Roles;
pub use service::App;

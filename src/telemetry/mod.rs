//! What the process says about itself: log lines on stderr and metrics for `/metrics`.
//!
//! Not here: what is said (each part logs its own) and the HTTP route. What must stay true: one event is one line
//! whatever its fields hold, no terminal sequence of a stranger reaches a terminal, every metric has its line in
//! [`METRICS`].

mod logs;
mod metrics;

pub use logs::{LogError, init, subscriber};
pub use metrics::*;

//! Log lines on stderr and metrics for `/metrics`.
//!
//! Not here: the log statements themselves and the HTTP route. What must stay true: one event is one line whatever its
//! fields hold, no terminal sequence from outside reaches a terminal, every metric is listed in [`METRICS`].

mod announce;
mod error_text;
mod logs;
mod metrics;

pub use announce::Announcement;
pub use error_text::error_text;
pub use logs::{LogError, init, subscriber};
pub use metrics::*;

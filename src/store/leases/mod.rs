//! What one process has for a while and the others do not: exclusive work, and permits to call WeChat.

mod call_rates;
mod lease;

pub use call_rates::Permits;
pub(super) use lease::holds;
pub use lease::{Fenced, Lease};

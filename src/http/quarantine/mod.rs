//! Refused notification bodies: which are kept, and which of them go where there are too many.

mod displaced;
mod keep;

pub use keep::{Quarantine, Refused};

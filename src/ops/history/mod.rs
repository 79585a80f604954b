//! An order's history: one timeline of everything that happened to it.

mod entry;
mod timeline;

pub use entry::{Entry, Evidence, TimedEntry, Timeline, Words};
pub use timeline::of_order;

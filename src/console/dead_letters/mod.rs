//! What waits for a person: in groups, one by one, and discarding it.

mod discard;
mod groups;
mod list;
mod page;
pub mod reasons;
mod spark;
mod words;

pub use discard::{ask, discard};
pub use groups::overview;
pub use page::get;

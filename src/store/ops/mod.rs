//! What operators read, in pages, and what they change.

pub mod audit;
pub mod dead_letters;
pub mod filter;
pub mod notifications;
pub mod overview;
pub mod refused;
pub mod statements;

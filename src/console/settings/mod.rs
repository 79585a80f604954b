//! What is configured, who may use the console, and which sessions are open.

pub mod keys;
pub mod page;
pub mod sessions;
pub mod users;
mod words;

//! The call for a refund: one at a time, and its outcome may be unknown.

mod doubts;
mod open;
#[cfg(debug_assertions)]
mod paused;
mod words;

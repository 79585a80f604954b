//! The work of replays: one process at a time, under a lease, item after item at the replay's rate.
//!
//! What must stay true: an item's result is written in the transaction of its effect where the handler has one, and by
//! compare-and-set everywhere, so that a crash, a repeat or a process that lost its lease counts nothing twice. Whether
//! the replay still runs is read before every item: a pause and a cancellation hold from the next item on.

mod item;
mod runner;

pub use runner::run;

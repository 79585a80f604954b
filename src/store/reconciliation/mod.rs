//! Reconciliations: the days that are asked for, their results, and the lines that differ.
//!
//! What must stay true: a day's result is replaced as a whole, by a run whose lines are all written; lines of any other
//! run never show. A note stays with a line that the next run finds again. Only the holder of the lease writes results.

pub(super) mod accepted;
pub(super) mod accounts;
pub(super) mod asks;
pub(super) mod bills;
pub(super) mod explain;
pub(super) mod finish;
pub(super) mod lines;
pub(super) mod missing;
pub(super) mod read;
pub(super) mod repair;
pub(super) mod repairs;
pub(super) mod resolve;
pub(super) mod types;
pub(super) mod waiting;

//! What is kept for a time, and its removal in small steps.
//!
//! What must stay true: no row of the ledger or of the evidence is among it; what is parked, held, unmatched or open
//! stays, whatever its age. The feed loses its oldest events alone and in order, none that the bus has not got, and
//! never the last one: a reader's cursor never leads past removed events, and a process of the version before, which
//! counts positions from the events that are there, goes on counting.

mod remove;
mod tables;

pub use remove::{Mark, Removal};
pub use tables::Kept;

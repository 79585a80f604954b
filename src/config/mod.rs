//! Configuration: defaults ← file ← environment, checked as a whole before anything starts.

mod sections;

pub use sections::*;

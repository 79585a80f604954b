//! `approvals`: what waits for a second person, and its decision.

mod args;
mod run;

pub use args::ApprovalsCommand;
pub use run::run;

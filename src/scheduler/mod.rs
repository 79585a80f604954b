//! The scheduler: work that time makes due. For orders it publishes commands, and the workers do the work; what belongs to no
//! order (the platform's tokens, gauges, retention) it does itself.
//!
//! `table` says what there is, `when` says when, `run` runs it in one process at a time, `jobs` has a file per job.
//! `tokens` and `token_plan` keep the platform's tokens fresh: the only place of the program that fetches them.

mod jobs;
mod run;
mod table;
pub mod token_plan;
mod tokens;
mod when;

pub use run::{Parts, SchedulerError, run};
pub use table::{Done, JobError};
pub use tokens::Tokens;
pub use when::When;

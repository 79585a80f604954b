//! The scheduler: work that is due by time. For orders it publishes commands, and the workers do the work; what belongs
//! to no order (the platform's tokens, gauges, retention) it does itself.
//!
//! `registry` lists the jobs, `schedule` and `timetable` say when, `runner` runs each in one process at a time, `jobs`
//! has a file per job. `token_refresh` keeps the platform's tokens fresh, the only place of the program that fetches
//! them; `token_refresh_policy` decides, `token_commit` writes.

mod job;
mod jobs;
mod outcome;
mod registry;
mod rests;
mod runner;
mod schedule;
mod shown;
mod timetable;
pub mod token_commit;
mod token_refresh;
pub mod token_refresh_policy;

pub use outcome::{Done, JobError};
#[doc(hidden)]
pub use rests::{Next, Rests};
pub use schedule::When;
pub use timetable::{AT_LEAST, Parts, SchedulerError, run};
pub use token_refresh::Tokens;

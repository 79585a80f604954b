//! The scheduler: work that time makes due. It publishes commands; the workers do the work.

mod jobs;
mod refunds;
mod run;

pub use run::run;

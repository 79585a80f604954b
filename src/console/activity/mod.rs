//! What the service and its users do: jobs, and the audit.

pub mod audit;
pub mod jobs;
mod words;

//! What is delivered for monitoring: alert rules and the dashboard.

mod alerts;
mod dashboard;
mod promql;

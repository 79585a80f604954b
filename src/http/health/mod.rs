//! `/healthz`, `/readyz`, `/metrics`: for supervisors, balancers and monitoring.

pub mod last;
mod local;
pub mod readiness;
pub mod routes;

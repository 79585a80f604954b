//! The steps of the first release.

pub mod m20261122_000001_core;
pub mod m20261122_000002_bus;
pub mod m20261122_000003_web;
pub mod m20261122_000004_settling;
pub mod m20261122_000005_refunds;
pub mod m20261122_000006_token_source;
pub mod m20261122_000007_open_calls;
pub mod m20261122_000008_orphans;

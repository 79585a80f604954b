//! The steps since others may run beside the version that has schema 2.

pub mod m20261130_000010_refund_caps;
pub mod m20261130_000020_packed;
pub mod m20261130_000030_operations;
pub mod m20261130_000040_replays;
pub mod m20261130_000050_history;
pub mod m20261130_000060_console;
pub mod m20261130_000070_api_keys;
pub mod m20261130_000080_merchant_health;
pub mod m20261130_000110_books;
pub mod m20261130_000120_views;

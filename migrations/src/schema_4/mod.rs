//! Steps of the fourth version.

pub mod m20261201_000020_webhooks;

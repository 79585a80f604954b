//! Webhooks: endpoints, what is delivered to them, tests, recovery.

mod deliveries;
mod endpoints;

pub use deliveries::{attempts, deliveries, recover};
pub use endpoints::{Change, Made, NewEndpoint, View, WebhookError, create, delete, get, list, rotate, test, update};

//! The working pages of the console: orders, notifications, dead letters, replays.

mod acts;
mod finance;
mod keys;
mod lists;
mod of_no_order;
mod outcomes;
mod overview;
mod refused;
mod repairs;
mod replays;
mod to_do;
pub mod user;
mod views;

use crate::harness::service::TestService;

/// A service with the console.
fn service() -> TestService {
    TestService::new().config("[console]\nenabled = true\n")
}

//! The working pages of the console: orders, notifications, dead letters, replays.

mod acts;
mod lists;
mod outcomes;
mod replays;
mod user;

use crate::harness::service::TestService;

/// A service with the console.
fn service() -> TestService {
    TestService::new().config("[console]\nenabled = true\n")
}

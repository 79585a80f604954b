//! Logins that fail: slowed down for each user and address, counted, and sampled in the audit.

use metrics::counter;

use crate::console::state::Console;
use crate::http::network::network;
use crate::ops;
use crate::secret::sha256_hex;
use crate::store::{Attempt, DbError};
use crate::telemetry::CONSOLE_LOGINS_TOTAL;

/// Attempts of one address that this process passes on to the store in a minute: each is a write.
pub const PER_MINUTE: u32 = 40;

/// Counts an attempt of this user name from this address; false where it has to wait.
pub async fn begin(app: &Console, name: &str) -> Result<bool, DbError> {
    if !app.shared.attempts.spend(network(app.client), PER_MINUTE) {
        return Ok(false);
    }
    app.store.begin_attempt(&attempt(app, name), app.clock.now()).await
}

/// Counts a login that succeeded: the attempts on the user from this address are forgotten.
pub async fn succeeded(app: &Console, name: &str) -> Result<(), DbError> {
    counter!(CONSOLE_LOGINS_TOTAL, "outcome" => "done").increment(1);
    app.store.excuse_attempt(&attempt(app, name)).await
}

/// Counts a login that failed and records a sample.
pub async fn failed(app: &Console, why: &'static str) -> Result<(), DbError> {
    counter!(CONSOLE_LOGINS_TOTAL, "outcome" => why).increment(1);
    let Some(count) = app.shared.failed_logins.sample() else { return Ok(()) };
    tracing::warn!(client = %app.client, why, count, "A login to the console failed");
    ops::users::login_failed(&app.store, &app.client.to_string(), (why, count), app.clock.now()).await
}

fn attempt(app: &Console, name: &str) -> Attempt {
    Attempt { name: sha256_hex(name.as_bytes()), address: network(app.client).to_string() }
}

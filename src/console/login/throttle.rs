//! Logins that fail: slowed down for each user and address, counted, and sampled in the audit.

use std::net::{IpAddr, Ipv6Addr};

use metrics::counter;

use crate::console::state::Console;
use crate::ops;
use crate::secret::sha256_hex;
use crate::store::{AttemptLimit, AttemptOn, DbError};
use crate::telemetry::CONSOLE_LOGINS_TOTAL;

/// Counts an attempt of this user name from this address; false where it has to wait.
pub async fn begin(app: &Console, name: &str) -> Result<bool, DbError> {
    let subjects = vec![
        AttemptOn { subject: user(name), limit: AttemptLimit::USER },
        AttemptOn { subject: address(app.client), limit: AttemptLimit::ADDRESS },
    ];
    app.store.begin_attempt(subjects, app.clock.now()).await
}

/// Counts a login that succeeded: the attempts on the user are forgotten, this one on the address, too.
pub async fn succeeded(app: &Console, name: &str) -> Result<(), DbError> {
    counter!(CONSOLE_LOGINS_TOTAL, "outcome" => "done").increment(1);
    app.store.excuse_attempt(&user(name), &address(app.client)).await
}

/// Counts a login that failed and records a sample.
pub async fn failed(app: &Console, why: &'static str) -> Result<(), DbError> {
    counter!(CONSOLE_LOGINS_TOTAL, "outcome" => why).increment(1);
    if !app.shared.failed_logins.is_sampled(app.client, why) {
        return Ok(());
    }
    tracing::warn!(client = %app.client, why, "A login to the console failed");
    ops::users::login_failed(&app.store, &app.client.to_string(), why, app.clock.now()).await
}

/// Hashed, because people enter passwords there.
fn user(name: &str) -> String {
    format!("user:{}", sha256_hex(name.as_bytes()))
}

/// A network of IPv6 is one client's.
fn address(client: IpAddr) -> String {
    match client {
        IpAddr::V4(address) => format!("address:{address}"),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("address:{}", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

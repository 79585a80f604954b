//! What tests start and inspect. It is not a mock of anything: servers and databases are real.

pub mod assert;
pub mod bus;
pub mod cable;
pub mod certificates;
pub mod db;
pub mod locker;
pub mod nats;
#[cfg(debug_assertions)]
pub mod pausing;
pub mod pgbouncer;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod requests;
pub mod service;
pub mod sql;
pub mod store;

use std::time::Duration;

/// Far above what anything takes on a busy machine; a test that reaches it hangs.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A variable that `tests/run.sh` sets.
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/run.sh"))
}

/// The size of a proof: the small one, or with `WXPAY_TEST_LONG=1` (`tests/long.sh`) the long one.
pub fn size<T>(small: T, long: T) -> T {
    if std::env::var("WXPAY_TEST_LONG").is_ok_and(|set| set == "1") { long } else { small }
}

/// Whether something did not start because a server did not answer in time, as on a busy machine.
pub fn is_late(said: &str) -> bool {
    let words = ["database not available", "no NATS server answers", "does not answer as a NATS", "not answer in time"];
    words.iter().any(|words| said.contains(words))
}

/// Awaits with [`TEST_TIMEOUT`].
pub async fn within_timeout<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(TEST_TIMEOUT, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen within {TEST_TIMEOUT:?}"),
    }
}

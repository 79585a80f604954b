//! When a delivery is tried again: after ever longer pauses, over a day.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::EndpointFormat;

/// For how long a delivery is tried, from its first attempt on.
pub const WINDOW: Duration = Duration::from_secs(24 * 3600);
/// For how long the secret before the last rotation signs, too.
pub const OLD_SECRET_LIFE: Duration = Duration::from_secs(24 * 3600);
/// The pause after the first attempt; each later one is three times as long.
const FIRST_PAUSE_MS: u64 = 5_000;
const LONGEST_PAUSE_MS: u64 = 4 * 3600 * 1000;
/// WeCom takes twenty messages a minute from a robot.
const BETWEEN_MESSAGES: Duration = Duration::from_secs(4);
/// People read them.
const BETWEEN_MAILS: Duration = Duration::from_secs(60);
/// What a receiver may ask for at most with `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(6 * 3600);

/// From one message about several events to the next one; none where each event is sent by itself.
pub fn pause_between(format: EndpointFormat) -> Option<Duration> {
    match format {
        EndpointFormat::Events => None,
        EndpointFormat::Wecom => Some(BETWEEN_MESSAGES),
        EndpointFormat::Mail => Some(BETWEEN_MAILS),
    }
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Again(Timestamp),
    /// The time is over.
    GiveUp,
}

/// What follows the failure number `tries` (from 1) of a delivery that was first tried then. `random` is any number:
/// the pause is a quarter shorter or longer by it, so that what failed together does not come back together. The last
/// attempt is at the end of the time.
pub fn next(tries: u32, first: Timestamp, now: Timestamp, retry_after: Option<Duration>, random: u64) -> Next {
    if now.since(first) >= WINDOW {
        return Next::GiveUp;
    }
    let pause = 3_u64.saturating_pow(tries.saturating_sub(1)).saturating_mul(FIRST_PAUSE_MS).min(LONGEST_PAUSE_MS);
    let pause = Duration::from_millis(pause * 3 / 4 + (pause / 2) * (random % 1001) / 1000);
    let pause = pause.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER));
    Next::Again(now.after(pause).min(first.after(WINDOW)))
}

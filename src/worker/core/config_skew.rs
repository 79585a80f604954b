//! Messages that this process's configuration cannot handle. The process that published them had one that could: while
//! a change of keys, apps or merchants is rolled out, or this process has the old one, they wait for a process that has
//! the new one.

use std::time::Duration;

use crate::bus::Verdict;
use crate::clock::Timestamp;

/// How long a rollout may take.
const SKEW_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// The pauses in between, in seconds; few enough for the attempts of a message.
const PAUSES: &[u64] = &[5, 15, 30, 60, 120];

/// How long until the message is worth another attempt, if it still is. `since` is when it was published first.
pub fn wait(since: Timestamp, now: Timestamp, attempt: u32) -> Option<Duration> {
    let pause = PAUSES.get(attempt.saturating_sub(1) as usize).or(PAUSES.last()).copied().map(Duration::from_secs);
    pause.filter(|_| now.since(since) < SKEW_TIMEOUT)
}

/// A merchant, or an app of it, that is not configured here.
pub fn unknown(since: Timestamp, now: Timestamp, attempt: u32) -> Verdict {
    let why = "no such merchant or app is configured".to_owned();
    match wait(since, now, attempt) {
        Some(after) => Verdict::Retry { after, why },
        None => Verdict::Park { reason: "unknown_merchant", why },
    }
}

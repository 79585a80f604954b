//! When a check need not be made again: one found that nothing becomes due for a while, and nothing was committed
//! since.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::store::Polls;

/// How long a check is not made again: a safety net.
const RESTS_FOR: Duration = Duration::from_secs(5);
/// What becomes due within this time ends a rest, or none begins: a check takes time, and what it leaves is found at
/// the next time of the rhythm.
const AHEAD: Duration = Duration::from_secs(6);

/// What is to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// What is due now: something may have been committed.
    Now,
    /// What becomes due within this time. If nothing does, [`Rests::begin`].
    Within(Duration),
    /// Nothing can be due.
    Nothing,
}

/// The rests of one check.
pub struct Rests {
    polls: Polls,
    /// With which configuration nothing is due, and when.
    resting: Option<(Arc<Config>, Range<Timestamp>)>,
}

impl Rests {
    pub fn new(polls: Polls) -> Rests {
        Rests { polls, resting: None }
    }

    /// What to check. What is committed from here on is noticed by the next call.
    pub fn next(&mut self, config: &Arc<Config>, now: Timestamp) -> Next {
        if self.polls.has_noticed() {
            self.polls.begin();
            self.resting = None;
            return Next::Now;
        }
        match &self.resting {
            Some((of, times)) if Arc::ptr_eq(of, config) && times.contains(&now) => Next::Nothing,
            Some(_) | None => Next::Within(AHEAD),
        }
    }

    /// Nothing becomes due within the time that was to be checked, as seen `now`.
    pub fn begin(&mut self, config: Arc<Config>, now: Timestamp) {
        self.resting = Some((config, now..now.after(RESTS_FOR)));
    }
}

//! The `Date` of WeChat's newest answer: how far its clock and ours are apart.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};

/// A larger difference is an error to be mended and widens no rule any further.
const CAP: Duration = Duration::from_secs(5 * 60);

/// The newest date, and when it arrived. Cheap to clone; all clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct NewestDate(Arc<Mutex<Option<(Timestamp, Instant)>>>);

impl NewestDate {
    /// Notes the header of an answer that arrived now; what is no date is ignored.
    pub(super) fn note(&self, header: Option<&str>) {
        if let Some(date) = header.and_then(|date| Timestamp::parse_http_date(date).ok()) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((date, Instant::now()));
        }
    }

    /// How far WeChat's clock and `clock` are apart, at most five minutes; none before the first answer.
    pub(super) fn difference(&self, clock: &Clock) -> Option<Duration> {
        let (date, arrived) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let (theirs, ours) = (date.after(arrived.elapsed()), clock.now());
        Some(theirs.since(ours).max(ours.since(theirs)).min(CAP))
    }
}

//! The day of a bill: a calendar day in Beijing, whatever the zone of the host.

use std::fmt;

use crate::clock::Timestamp;

const DAY_MS: i64 = 24 * 3600 * 1000;
const AHEAD_MS: i64 = 8 * 3600 * 1000;
/// From a day's beginning to the hour at which WeChat offers its bill: ten in the morning of the next day.
const READY_MS: i64 = DAY_MS + 10 * 3600 * 1000;

/// A day in Beijing, as a number of days since 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BillDay(i64);

/// Why a text is no day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a day of the form 2026-11-27")]
pub struct DayError;

impl BillDay {
    /// The day in which a moment lies.
    pub const fn of(at: Timestamp) -> BillDay {
        BillDay(at.as_ms().saturating_add(AHEAD_MS).div_euclid(DAY_MS))
    }

    /// `2026-11-27` or `20261127`.
    pub fn parse(text: &str) -> Result<BillDay, DayError> {
        let dashed = text.len() == 10 && text.bytes().enumerate().all(|(i, b)| matches!(i, 4 | 7) == (b == b'-'));
        let compact = if dashed { text.replace('-', "") } else { text.to_owned() };
        if compact.len() != 8 {
            return Err(DayError);
        }
        Timestamp::parse_beijing(&format!("{compact}000000")).map(BillDay::of).map_err(|_| DayError)
    }

    /// Midnight in Beijing.
    pub const fn begins_at(self) -> Timestamp {
        Timestamp::from_ms(self.0 * DAY_MS - AHEAD_MS)
    }

    /// The midnight after it.
    pub const fn ends_at(self) -> Timestamp {
        Timestamp::from_ms((self.0 + 1) * DAY_MS - AHEAD_MS)
    }

    /// When WeChat has the bill: at ten in the morning of the next day.
    pub const fn ready_at(self) -> Timestamp {
        Timestamp::from_ms(self.0 * DAY_MS - AHEAD_MS + READY_MS)
    }

    pub const fn next(self) -> BillDay {
        BillDay(self.0 + 1)
    }

    pub const fn previous(self) -> BillDay {
        BillDay(self.0 - 1)
    }

    /// `20261127`, as requests have it.
    pub fn compact(self) -> String {
        self.begins_at().to_beijing().chars().take(8).collect()
    }
}

/// `2026-11-27`.
impl fmt::Display for BillDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.compact();
        let part = |range| text.get(range).unwrap_or_default();
        write!(f, "{}-{}-{}", part(0..4), part(4..6), part(6..8))
    }
}

impl fmt::Debug for BillDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

//! Time: the only place that reads the wall clock, and the only one that knows Beijing.
//!
//! WeChat writes local Beijing time without a zone (`20250102111633`); everything on our side is UTC with
//! milliseconds. China has no daylight saving, so the offset is the constant +08:00 whatever zone the host is in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const BEIJING: jiff::tz::Offset = jiff::tz::offset(8);

/// A moment, in milliseconds since 1970-01-01T00:00:00Z. JSON form: RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid time")]
pub struct TimeError;

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_ms(ms: i64) -> Timestamp {
        Timestamp(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, as front-end signatures want them.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Later by `d`, saturating.
    pub fn after(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Earlier by `d`, saturating.
    pub fn before(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Parses RFC 3339 with any offset.
    pub fn parse_rfc3339(text: &str) -> Result<Timestamp, TimeError> {
        let t: jiff::Timestamp = text.parse().map_err(|_| TimeError)?;
        Ok(Timestamp(t.as_millisecond()))
    }

    /// Parses the `Date` of an HTTP response (`Sun, 06 Nov 1994 08:49:37 GMT`).
    pub fn parse_http_date(text: &str) -> Result<Timestamp, TimeError> {
        let t = jiff::fmt::rfc2822::parse(text).map_err(|_| TimeError)?;
        Ok(Timestamp(t.timestamp().as_millisecond()))
    }

    /// Parses WeChat's `yyyyMMddHHmmss` in Beijing time.
    pub fn parse_beijing(text: &str) -> Result<Timestamp, TimeError> {
        if text.len() != 14 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(TimeError);
        }
        let n = |from: usize, to: usize| text[from..to].parse::<i16>().map_err(|_| TimeError);
        beijing(n(0, 4)?, [n(4, 6)?, n(6, 8)?, n(8, 10)?, n(10, 12)?, n(12, 14)?])
    }

    /// Parses WeChat's `yyyy-MM-dd HH:mm:ss` in Beijing time (refunds, bills).
    pub fn parse_beijing_spaced(text: &str) -> Result<Timestamp, TimeError> {
        let shape = text.len() == 19
            && text.bytes().enumerate().all(|(i, b)| match i {
                4 | 7 => b == b'-',
                10 => b == b' ',
                13 | 16 => b == b':',
                _ => b.is_ascii_digit(),
            });
        if !shape {
            return Err(TimeError);
        }
        Timestamp::parse_beijing(&text.replace(['-', ' ', ':'], ""))
    }

    /// WeChat's `yyyyMMddHHmmss` in Beijing time.
    pub fn to_beijing(self) -> String {
        let t = BEIJING.to_datetime(self.to_jiff());
        format!("{:04}{:02}{:02}{:02}{:02}{:02}", t.year(), t.month(), t.day(), t.hour(), t.minute(), t.second())
    }

    /// The day in Beijing, `yyyy-mm-dd`.
    pub fn to_beijing_day(self) -> String {
        let t = self.to_beijing();
        format!("{}-{}-{}", &t[..4], &t[4..6], &t[6..8])
    }

    /// The first moment of a day in Beijing, `yyyy-mm-dd`.
    pub fn parse_beijing_day(text: &str) -> Result<Timestamp, TimeError> {
        Timestamp::parse_beijing_spaced(&format!("{text} 00:00:00"))
    }

    /// The first midnight in Beijing after this.
    pub const fn next_beijing_midnight(self) -> Timestamp {
        const DAY_MS: i64 = 24 * 3600 * 1000;
        const AHEAD_MS: i64 = 8 * 3600 * 1000;
        let days = self.0.saturating_add(AHEAD_MS).div_euclid(DAY_MS) + 1;
        Timestamp(days * DAY_MS - AHEAD_MS)
    }

    fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::MAX)
    }
}

fn beijing(year: i16, rest: [i16; 5]) -> Result<Timestamp, TimeError> {
    let mut small = [0i8; 5];
    for (to, from) in small.iter_mut().zip(rest) {
        *to = i8::try_from(from).map_err(|_| TimeError)?;
    }
    let [month, day, hour, minute, second] = small;
    let local = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).map_err(|_| TimeError)?;
    let utc = BEIJING.to_timestamp(local).map_err(|_| TimeError)?;
    Ok(Timestamp(utc.as_millisecond()))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.to_jiff())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Timestamp::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }
}

/// What has not been measured yet.
const UNMEASURED: i64 = i64::MIN;
/// Clocks that differ by less are left alone: time must not jitter.
const TOLERATED_MS: i64 = 1000;

/// Where "now" comes from. Cheap to clone; every part of the process shares one.
///
/// A host's clock may be wrong by hours (clock skew), and processes that decide by different clocks undo each other's
/// work: once it was [set](Clock::set_by), a clock shows the time of the one that all share, the database's. From then
/// on it follows the host's monotonic clock, which is never set, so that it does not jump with the host's wall clock.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Host(Arc<Host>),
    Manual(Arc<AtomicI64>),
}

#[derive(Debug)]
struct Host {
    /// How far the host's clock is wrong, as far as a test is concerned.
    off_ms: i64,
    /// From where the steady time counts.
    begin: Instant,
    /// The time at `begin`, as the better clock shows it.
    begun_at_ms: AtomicI64,
}

impl Host {
    fn own_ms(&self) -> i64 {
        jiff::Timestamp::now().as_millisecond().saturating_add(self.off_ms)
    }

    fn steady_ms(&self) -> i64 {
        i64::try_from(self.begin.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn now_ms(&self) -> i64 {
        match self.begun_at_ms.load(Ordering::SeqCst) {
            UNMEASURED => self.own_ms(),
            begun_at_ms => begun_at_ms.saturating_add(self.steady_ms()),
        }
    }
}

impl Clock {
    /// The host's clock.
    pub fn system() -> Clock {
        Clock::host_off_by(0)
    }

    /// The clock of a host that is so many milliseconds ahead (behind, if negative): for seeing what becomes of it.
    pub fn host_off_by(off_ms: i64) -> Clock {
        let host = Host { off_ms, begin: Instant::now(), begun_at_ms: AtomicI64::new(UNMEASURED) };
        Clock(Source::Host(Arc::new(host)))
    }

    /// A clock that advances only when set, for testing time-dependent decisions without waiting.
    pub fn manual(at: Timestamp) -> Clock {
        Clock(Source::Manual(Arc::new(AtomicI64::new(at.0))))
    }

    /// Sets this clock, and with it all its clones, to a better one that showed `theirs` at some time since `asked`.
    /// Answers by how many milliseconds it had to be put ahead, where it had to. A manual clock is the only truth of
    /// its world and stays as it is.
    pub fn set_by(&self, theirs: Timestamp, asked: Instant) -> Option<i64> {
        let Source::Host(host) = &self.0 else { return None };
        // The answer is from the middle of the time that it took, or as far from it as half that time.
        let half_ms = i64::try_from(asked.elapsed().as_millis() / 2).unwrap_or(i64::MAX);
        let now_ms = host.now_ms();
        let ahead_ms = theirs.0.saturating_add(half_ms).saturating_sub(now_ms);
        let differs = ahead_ms.saturating_abs() >= half_ms.saturating_add(TOLERATED_MS);
        if differs || host.begun_at_ms.load(Ordering::SeqCst) == UNMEASURED {
            let right_ms = if differs { now_ms.saturating_add(ahead_ms) } else { now_ms };
            host.begun_at_ms.store(right_ms.saturating_sub(host.steady_ms()), Ordering::SeqCst);
        }
        differs.then_some(ahead_ms)
    }

    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Host(host) => Timestamp(host.now_ms()),
            Source::Manual(at) => Timestamp(at.load(Ordering::SeqCst)),
        }
    }

    /// By how many milliseconds the host's own clock, whatever this one was set to, is ahead of one that shows `theirs`
    /// now.
    pub fn host_ahead_ms(&self, theirs: Timestamp) -> i64 {
        match &self.0 {
            Source::Host(host) => host.own_ms().saturating_sub(theirs.0),
            Source::Manual(_) => 0,
        }
    }

    /// Moves a manual clock; the system clock does not move.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(at) = &self.0 {
            at.store(self.now().after(by).0, Ordering::SeqCst);
        }
    }
}

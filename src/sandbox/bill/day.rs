//! Days in Beijing, and when WeChat has the bill of one.

use std::time::Duration;

use crate::clock::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);

/// A day that bills can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Day {
    /// `yyyyMMdd`.
    pub name: String,
    begins_at: Timestamp,
}

/// Whether there can be a bill now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Ready {
    Yes,
    /// From nine to ten in the morning of the next day.
    Creating,
    /// Not yet, or after three months no more.
    No,
}

impl Day {
    /// `yyyyMMdd`; the documentation's dashed form is understood too.
    pub fn parse(text: &str) -> Option<Day> {
        let name = if text.len() == 10 { text.replace('-', "") } else { text.to_owned() };
        let begins_at = Timestamp::parse_beijing(&format!("{name}000000")).ok()?;
        (name.len() == 8).then_some(Day { name, begins_at })
    }

    pub fn previous(&self) -> Day {
        let begins_at = self.begins_at.before(HOUR * 24);
        Day { name: begins_at.to_beijing().chars().take(8).collect(), begins_at }
    }

    pub fn holds(&self, at: Timestamp) -> bool {
        self.begins_at <= at && at < self.ends_at()
    }

    pub fn ends_at(&self) -> Timestamp {
        self.begins_at.after(HOUR * 24)
    }

    /// When the bill is made: what ended later is still on its way in it.
    pub fn made_at(&self) -> Timestamp {
        self.ends_at().after(HOUR * 9)
    }

    pub fn ready(&self, now: Timestamp) -> Ready {
        if now < self.made_at() || now > self.ends_at().after(HOUR * 24 * 92) {
            Ready::No
        } else if now < self.ends_at().after(HOUR * 10) {
            Ready::Creating
        } else {
            Ready::Yes
        }
    }
}

/// `yyyy-MM-dd HH:mm:ss` in Beijing.
pub(in crate::sandbox) fn spaced(at: Timestamp) -> String {
    let text = at.to_beijing();
    let part = |range| text.get(range).unwrap_or_default();
    format!("{}-{}-{} {}:{}:{}", part(0..4), part(4..6), part(6..8), part(8..10), part(10..12), part(12..14))
}

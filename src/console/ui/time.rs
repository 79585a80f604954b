//! Times: Beijing's, with UTC on hover; relative only beside the absolute one.

use std::fmt;
use std::time::Duration;

use askama::filters::HtmlSafe;

use crate::clock::Timestamp;
use crate::console::words::{Lang, Words};

/// A moment as the page shows it.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    pub at: Timestamp,
    pub now: Timestamp,
    pub lang: Lang,
    pub is_relative: bool,
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, shown) = (self.at, beijing(self.at));
        write!(f, "<time datetime=\"{at}\" title=\"{at} UTC\">{shown}</time>")?;
        if self.is_relative {
            write!(f, " <small>{}</small>", relative(self.at, self.now, self.lang))?;
        }
        Ok(())
    }
}

/// Digits and words of ours only.
impl HtmlSafe for Time {}

/// `2026-01-02 11:16:33`
pub fn beijing(at: Timestamp) -> String {
    let t = at.to_beijing();
    let part = |from: usize, to: usize| t.get(from..to).unwrap_or_default();
    let (date, time) = ([part(0, 4), part(4, 6), part(6, 8)], [part(8, 10), part(10, 12), part(12, 14)]);
    format!("{} {}", date.join("-"), time.join(":"))
}

/// `2026-01-02`
pub fn beijing_day(at: Timestamp) -> String {
    beijing(at).chars().take(10).collect()
}

/// `3 min ago`
pub fn relative(at: Timestamp, now: Timestamp, lang: Lang) -> String {
    let w = Words::of(lang);
    let (distance, word) = if at > now { (at.since(now), w.ahead) } else { (now.since(at), w.ago) };
    if distance < Duration::from_secs(5) {
        return w.just_now.to_owned();
    }
    let space = lang.pick("", " ");
    format!("{}{space}{word}", span(distance, lang))
}

/// `3 min`, in the largest unit that fits.
pub fn span(length: Duration, lang: Lang) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => lang.pick(format!("{seconds} 秒"), format!("{seconds} s")),
        60..3600 => lang.pick(format!("{} 分钟", seconds / 60), format!("{} min", seconds / 60)),
        3600..172_800 => lang.pick(format!("{} 小时", seconds / 3600), format!("{} h", seconds / 3600)),
        _ => lang.pick(format!("{} 天", seconds / 86_400), format!("{} d", seconds / 86_400)),
    }
}

/// `0.4 s` below ten seconds, as [`span`] above.
pub fn millis(length: Duration, lang: Lang) -> String {
    let tenths = length.as_millis() / 100;
    if tenths < 100 {
        return lang.pick(format!("{}.{} 秒", tenths / 10, tenths % 10), format!("{}.{} s", tenths / 10, tenths % 10));
    }
    span(length, lang)
}

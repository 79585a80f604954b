//! How far a replay is, and how long it still takes.

use std::time::Duration;

use serde::Serialize;

use super::words::{Texts, status};
use crate::clock::Timestamp;
use crate::console::ui::money::grouped;
use crate::console::ui::time::span;
use crate::console::words::Lang;
use crate::ops::replay::View;
use crate::store::ReplayState;

/// What the page shows of it, and what the stream sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub state: &'static str,
    /// The state's name in words.
    pub word: &'static str,
    pub done: u64,
    pub total: u64,
    pub settled: u64,
    pub no_op: u64,
    pub failed: u64,
    /// Counts, rate and the time that is left, in words.
    pub says: String,
    /// Whether nothing more comes.
    pub ended: bool,
}

impl Progress {
    pub fn of(view: &View, now: Timestamp, lang: Lang) -> Progress {
        let View { replay, counts } = view;
        let (done, total) = (counts.done(), replay.total);
        let mut says = format!("{} / {}", grouped(done), grouped(total));
        let seconds = replay.started_at.map_or(0, |at| now.since(at).as_millis().div_ceil(1000));
        if replay.state == ReplayState::Running && done > 0 && seconds > 0 {
            let t = Texts::of(lang);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            let rate = done.div_ceil(seconds);
            let left = total.saturating_sub(done).div_ceil(rate.max(1));
            let left = span(Duration::from_secs(left), lang);
            let left = lang.pick(format!("{} {left}", t.left), format!("{left} {}", t.left));
            says = format!("{says} · {} {} · {left}", grouped(rate), t.per_second);
        }
        Progress {
            state: replay.state.as_str(),
            word: status(replay.state).word(lang),
            done,
            total,
            settled: counts.settled,
            no_op: counts.did_nothing,
            failed: counts.failed.values().sum(),
            says,
            ended: matches!(replay.state, ReplayState::Done | ReplayState::Cancelled),
        }
    }
}

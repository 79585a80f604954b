//! What operations on replays take and answer.

use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{DbError, Replay, ReplayCounts, ReplaySelect, ReplayState, Store};
use crate::wechat::transport::Client;

/// Rows of one replay.
pub const MAX_ITEMS: usize = 50_000;
/// Items without `rate_per_second` are replayed at this rate.
pub const DEFAULT_RATE: u32 = 50;
pub const MAX_RATE: u32 = 1000;

/// What a plan is made with.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    pub store: &'a Store,
    pub bus: &'a Bus,
    pub config: &'a Config,
    pub clock: &'a Clock,
    pub wechat: &'a Client,
}

/// A replay that is asked for. The merchants of the selection are among those that the operator sees.
#[derive(Debug, Clone)]
pub struct Request {
    pub select: ReplaySelect,
    pub reason: String,
    pub rate_per_second: u32,
}

/// Why a replay is not as asked.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("there is no such replay")]
    NotFound,
    /// More rows than one replay takes.
    #[error("more than {MAX_ITEMS} rows are selected")]
    TooMany,
    /// Its state does not allow it.
    #[error("the replay is {}", .0.as_str())]
    State(ReplayState),
    #[error(transparent)]
    Store(#[from] DbError),
}

/// A replay and how far it is.
#[derive(Debug, Clone)]
pub struct View {
    pub replay: Replay,
    pub counts: ReplayCounts,
}

/// An item that is predicted otherwise than when it was planned.
#[derive(Debug, Clone)]
pub struct Changed {
    pub n: i64,
    pub was: String,
    pub now: String,
}

/// What an operator does to a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Start,
    Pause,
    Resume,
    Cancel,
}

impl Action {
    /// The name in the audit, the states it is allowed from, and the one it leads to.
    pub(super) const fn rule(self) -> (&'static str, &'static [ReplayState], ReplayState) {
        use ReplayState::{Cancelled, Paused, Planned, Running};
        match self {
            Action::Start => ("replay.start", &[Planned], Running),
            Action::Pause => ("replay.pause", &[Running], Paused),
            Action::Resume => ("replay.resume", &[Paused], Running),
            Action::Cancel => ("replay.cancel", &[Planned, Running, Paused], Cancelled),
        }
    }
}

//! What a start may fail on, and what a successful one reports.

use std::fmt;
use std::time::Duration;

use super::topology::TopologyError;
use crate::config;
use crate::store::DbError;

/// Why the bus could not be connected. The texts name the configuration key and the mend.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A setting is wrong.
    #[error("bus.{key}: {mend}")]
    Setting {
        /// The key within `[bus]`.
        key: &'static str,
        /// What to do.
        mend: String,
    },
    /// The embedded bus was asked for without a database.
    #[error("bus.url is \"embedded:\", which needs the database of [store]")]
    NoDatabase,
    /// The database did not do its part.
    #[error("the embedded bus: {0}")]
    Database(#[from] DbError),
    /// No server answers: try again later.
    #[error("bus.url: no NATS server answers: {0}")]
    Unreachable(String),
    /// A server's version cannot guarantee what is needed.
    #[error(
        "bus.url: NATS {found} cannot sync before it acknowledges; use 2.10 or newer, or set bus.require_fsync = false \
         and accept that a power cut loses messages"
    )]
    TooOld {
        /// The version.
        found: String,
    },
    /// A server acknowledges before it syncs to disk, or this cannot be determined.
    #[error("bus.require_fsync: {0}")]
    NotDurable(String),
    /// Streams or consumers could not be brought into shape.
    #[error("bus: {0}")]
    Shape(String),
    /// The servers did not answer in time while streams or consumers were provisioned, as when they elect a leader.
    #[error("bus: {0}")]
    Unanswered(String),
    /// The topology itself is unusable: a defect of the build.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

/// When the bus writes to the disk for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Before it acknowledges.
    Always,
    /// Every so often: a power cut loses what was acknowledged since.
    Every(Duration),
    /// Not reported.
    Unknown,
}

impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sync::Always => f.write_str("always"),
            Sync::Every(interval) => write!(f, "every {} s", interval.as_secs()),
            Sync::Unknown => f.write_str("unknown"),
        }
    }
}

/// What was connected, for the log and for health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// `embedded` or `nats`.
    pub kind: &'static str,
    /// The oldest server version seen.
    pub version: Option<String>,
    /// The weakest guarantee of any server.
    pub sync: Sync,
    /// Copies of each stream.
    pub replicas: usize,
    /// Whether many messages share one sync (NATS 2.12).
    pub atomic_batches: bool,
    /// What a person should know although the start goes on.
    pub warnings: Vec<String>,
}

impl Report {
    pub(super) fn embedded() -> Report {
        Report {
            kind: "embedded",
            version: None,
            sync: Sync::Always,
            replicas: 1,
            atomic_batches: true,
            warnings: Vec::new(),
        }
    }
}

/// Whether the embedded bus is meant.
pub(super) fn is_embedded(settings: &config::Bus) -> bool {
    settings.url.expose().trim().starts_with("embedded:")
}

//! The errors and answers of the bus, the same for both implementations.

use std::fmt;
use std::time::Duration;

use super::topology::{ConsumerName, Discard, StreamSpec, Topology, TopologyError};
use crate::config;
use crate::store::DbError;

/// How long a publish may take: half of what WeChat grants a notification for everything.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_millis(2500);

/// How long a page of messages may take: a message each is a call to NATS.
pub const PEEK_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the bus could not be connected. The texts name the configuration key and the mend.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A setting is wrong.
    #[error("bus.{key}: {mend}")]
    Setting {
        /// The key within `[bus]`.
        key: &'static str,
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
    TooOld { found: String },
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

/// What was found of a NATS bus without changing it.
#[derive(Debug)]
pub struct Inspected {
    /// The servers, or why they would be refused.
    pub report: Result<Report, ConnectError>,
    /// How full the streams are that are there.
    pub fill: Vec<Fill>,
    /// Streams that are not there yet.
    pub missing: Vec<String>,
}

/// Why a message was not accepted. Publishing the same message again is always safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The bus cannot be reached or does not work: try again later.
    #[error("the bus is not available: {0}")]
    Unavailable(String),
    /// The stream takes nothing more until space is made: refuse the work that led here.
    #[error("the stream is full")]
    Full,
    /// The message is larger than its stream allows: it will never be accepted.
    #[error("the message is too large")]
    TooLarge,
    /// No acknowledgement in time: it may or may not be stored.
    #[error("no acknowledgement in time")]
    Timeout,
    /// No stream takes this subject, or it is not a subject: a defect of the program.
    #[error("no stream takes the subject {0:?}")]
    Misdirected(String),
}

/// Why a consumer cannot be worked for.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The topology has no consumer of this name: a defect of the program.
    #[error("the topology has no consumer {0}")]
    Unknown(ConsumerName),
}

/// Why the bus could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("the bus did not answer: {0}")]
pub struct LagError(pub String);

/// How far behind a consumer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    pub consumer: ConsumerName,
    /// Messages waiting for a worker, delayed ones included.
    pub pending: u64,
    /// Messages delivered and not acknowledged. On NATS a delayed one counts here.
    pub in_flight: u64,
    /// Age of the oldest message that is not acknowledged.
    pub oldest_age: Option<Duration>,
}

/// How much of its limit a stream holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    pub stream: String,
    /// What it holds.
    pub bytes: u64,
    /// What it may hold.
    pub max_bytes: u64,
    /// Whether it refuses messages when it is full; otherwise it drops its oldest ones, and being full is usual.
    pub refuses: bool,
}

impl Fill {
    /// Of the embedded bus, whose streams hold so many bytes each.
    pub fn of_embedded(settings: &config::Bus, stored: &[(String, i64)]) -> Vec<Fill> {
        let topology = Topology::builtin(settings.ack_wait).map(|topology| topology.streams).unwrap_or_default();
        let of = |stream: &StreamSpec| {
            let (_, bytes) = stored.iter().find(|(name, _)| *name == stream.name)?;
            Fill::of(stream, u64::try_from(*bytes).unwrap_or(0), settings.max_bytes)
        };
        topology.iter().filter_map(of).collect()
    }

    /// Nothing for a stream without a limit.
    pub(super) fn of(stream: &StreamSpec, bytes: u64, max_bytes: i64) -> Option<Fill> {
        let max_bytes = u64::try_from(max_bytes).ok().filter(|limit| *limit > 0)?;
        let refuses = match stream.discard {
            Discard::New => true,
            Discard::Old => false,
        };
        Some(Fill { stream: stream.name.clone(), bytes, max_bytes, refuses })
    }

    /// Whole percents of the limit.
    pub fn percent(&self) -> u64 {
        self.bytes.saturating_mul(100) / self.max_bytes.max(1)
    }
}

/// The lane of a subject: publishes of one subject keep their order.
pub(super) fn lane_of(subject: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    hasher.finish()
}

//! The errors and answers of the bus, the same for both implementations.

use std::time::Duration;

use super::topology::ConsumerName;

/// How long a publish may take: half of what WeChat grants a notification for everything.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_millis(2500);

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
    /// Whose.
    pub consumer: ConsumerName,
    /// Messages waiting for a worker, delayed ones included.
    pub pending: u64,
    /// Messages delivered and not acknowledged. On NATS a delayed one counts here.
    pub in_flight: u64,
    /// Age of the oldest message that is not acknowledged.
    pub oldest_age: Option<Duration>,
}

/// The lane of a subject: publishes of one subject keep their order.
pub(super) fn lane_of(subject: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    hasher.finish()
}

//! What goes into the embedded bus's tables and what comes out.

/// A message to store.
#[derive(Debug, Clone)]
pub struct NewRow {
    /// Its stream.
    pub stream: String,
    /// Its subject.
    pub subject: String,
    /// Unique within the stream while the message is kept.
    pub dedupe_key: String,
    /// Its content.
    pub payload: Vec<u8>,
    /// Its headers, as JSON.
    pub headers: String,
    /// What it counts against the stream's limit.
    pub size_bytes: i64,
    /// Who has to work on it.
    pub consumers: Vec<String>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is stored, now or earlier under the same key.
    Yes,
    /// The stream is full.
    Full,
}

/// A claimed delivery.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The message's number.
    pub seq: i64,
    /// Deliveries to this consumer, this one included.
    pub deliveries: i64,
    /// The first error noted by [`Answer::Wait`].
    pub first_error: Option<String>,
    /// Its subject.
    pub subject: String,
    /// Its key.
    pub dedupe_key: String,
    /// Its content.
    pub payload: Vec<u8>,
    /// Its headers, as JSON.
    pub headers: String,
    /// When it was stored, by the database's clock.
    pub published_at_ms: i64,
}

/// An answer to a claimed delivery. `deliveries` is the claim's: an answer to a lease that has passed to another
/// process changes nothing, except that finished is finished.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Finished.
    Done {
        /// The message.
        seq: i64,
        /// Whose delivery.
        consumer: String,
    },
    /// Deliver again after a while.
    Wait {
        /// The message.
        seq: i64,
        /// Whose delivery.
        consumer: String,
        /// The claim.
        deliveries: i64,
        /// How long.
        after_ms: i64,
        /// Kept if none is kept yet.
        first_error: String,
    },
    /// Deliver again now, and do not count this delivery.
    Release {
        /// The message.
        seq: i64,
        /// Whose delivery.
        consumer: String,
        /// The claim.
        deliveries: i64,
    },
    /// Lengthen the lease.
    Extend {
        /// The message.
        seq: i64,
        /// Whose delivery.
        consumer: String,
        /// The claim.
        deliveries: i64,
        /// From now.
        lease_ms: i64,
    },
}

impl Answer {
    /// The message it is about.
    pub fn seq(&self) -> i64 {
        match self {
            Answer::Done { seq, .. }
            | Answer::Wait { seq, .. }
            | Answer::Release { seq, .. }
            | Answer::Extend { seq, .. } => *seq,
        }
    }
}

/// How far behind a consumer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LagRow {
    /// Not leased.
    pub pending: i64,
    /// Leased.
    pub in_flight: i64,
    /// Age of the oldest message not acknowledged.
    pub oldest_age_ms: Option<i64>,
}

/// Most a stream may keep.
#[derive(Debug, Clone, Copy)]
pub struct StreamLimit {
    /// Messages.
    pub max_messages: i64,
    /// Bytes.
    pub max_bytes: i64,
    /// Whether a full stream drops its oldest messages instead of refusing new ones.
    pub drops_oldest: bool,
}

//! What goes into the embedded bus's tables and what comes out.

#[derive(Debug, Clone)]
pub struct NewRow {
    pub stream: String,
    pub subject: String,
    /// Unique within the stream while the message is kept.
    pub dedupe_key: String,
    pub payload: Vec<u8>,
    /// Its headers, as JSON.
    pub headers: String,
    /// What it counts against the stream's limit.
    pub size_bytes: i64,
    /// Who has to work on it.
    pub consumers: Vec<Taker>,
}

/// A consumer that has to work on a message.
#[derive(Debug, Clone)]
pub struct Taker {
    pub consumer: String,
    /// For how long it is stored as leased by a worker of this process, which gets it once it is durable.
    pub lease_ms: Option<i64>,
}

/// What became of a batch.
#[derive(Debug, Clone)]
pub struct Inserted {
    /// Of each message of the batch.
    pub outcomes: Vec<Stored>,
    /// Those that were not there under their key.
    pub new: Vec<NewMessage>,
}

/// A message that was stored now.
#[derive(Debug, Clone, Copy)]
pub struct NewMessage {
    /// Its place in the batch.
    pub place: usize,
    pub seq: i64,
    /// By the database's clock.
    pub published_at_ms: i64,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is stored, now or earlier under the same key.
    Yes,
    /// The stream is full.
    Full,
}

#[derive(Debug, Clone)]
pub struct Claimed {
    /// The message's number.
    pub seq: i64,
    /// Deliveries to this consumer, this one included.
    pub deliveries: i64,
    /// The first error noted by [`Answer::Wait`].
    pub first_error: Option<String>,
    pub subject: String,
    pub dedupe_key: String,
    pub payload: Vec<u8>,
    /// Its headers, as JSON.
    pub headers: String,
    /// What it counts against its stream's limit.
    pub size_bytes: i64,
    /// When it was stored, by the database's clock.
    pub published_at_ms: i64,
}

/// A claimed delivery, as its claimer knows it.
#[derive(Debug, Clone)]
pub struct Claim {
    pub seq: i64,
    pub consumer: String,
    /// An answer to a lease that has passed to another process changes nothing, except that finished is finished.
    pub deliveries: i64,
}

/// A claimed delivery that ends with the write of its effects, in their transaction.
#[derive(Debug, Clone)]
pub struct Finished {
    pub claim: Claim,
    /// See [`Answer::Done`].
    pub frees: i64,
}

/// An answer to a claimed delivery.
#[derive(Debug, Clone)]
pub enum Answer {
    Done {
        /// What the message counts against its stream's limit. Its body is deleted and counts no longer; its key stays
        /// until the duplicate window ends. Zero: the body stays, too.
        frees: i64,
    },
    /// Deliver again after a while.
    Wait {
        after_ms: i64,
        /// Kept if none is kept yet.
        first_error: String,
    },
    /// Deliver again now, and do not count this delivery.
    Release,
    /// Lengthen the lease.
    Extend { lease_ms: i64 },
}

/// How much a stream holds.
#[derive(Debug, Clone)]
pub struct UsageRow {
    pub stream: String,
    pub messages: i64,
    pub size_bytes: i64,
}

/// A message that is read and left where it is.
#[derive(Debug, Clone)]
pub struct PeekedRow {
    pub seq: i64,
    pub subject: String,
    pub dedupe_key: String,
    pub payload: Vec<u8>,
    pub published_at_ms: i64,
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
    pub max_messages: i64,
    pub max_bytes: i64,
    /// Whether a full stream drops its oldest messages instead of refusing new ones.
    pub drops_oldest: bool,
}

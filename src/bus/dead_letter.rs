//! Where deliveries go that the bus must not keep: what is handed over, and to whom.
//!
//! It is not the rows themselves; the store has those. What must stay true: what is handed over can be made plain
//! enough for any database, and is still the same message then: same id, same payload, same count of attempts.

use std::future::Future;
use std::time::Duration;

use super::message::{AGAIN, ATTEMPTS, FIRST_ERROR, Message};
use super::topology::ConsumerName;
use crate::clock::Timestamp;

/// A message that needs a person.
#[derive(Debug, Clone)]
pub struct Parked {
    pub message: Message,
    /// Whose it was.
    pub consumer: ConsumerName,
    /// Class of the reason.
    pub reason: &'static str,
    /// The error of the first failed attempt, as far as it is known.
    pub first_error: String,
    /// The error of the last attempt.
    pub last_error: String,
    /// Attempts over all.
    pub attempts: u32,
    /// When the bus accepted it.
    pub published_at: Timestamp,
}

/// A message that is to be published again later, exactly as it is here: its headers count the attempts so far.
#[derive(Debug, Clone)]
pub struct Deferred {
    /// What to publish. Publishing it twice is harmless: the duplicate window takes it once.
    pub message: Message,
    /// Whose it was, and will be again.
    pub consumer: ConsumerName,
    /// Attempts so far.
    pub attempts: u32,
    /// Not before this has passed.
    pub due_in: Duration,
    /// The error of the last attempt.
    pub why: String,
}

/// The database did not take it: it is not durable there. The texts quote nothing of the message.
#[derive(Debug, thiserror::Error)]
pub enum ParkingError {
    /// The database is away or busy: the same call may succeed later.
    #[error("not parked: {0}")]
    Unavailable(String),
    /// The database will never take this row as it is.
    #[error("cannot be parked: {0}")]
    Impossible(String),
}

/// Where deliveries go that the bus must not keep. Both calls return only after the row is durable, and may be repeated
/// with the same message.
pub trait Parking: Send + Sync + 'static {
    /// Keeps a dead letter.
    fn park(&self, parked: Parked) -> impl Future<Output = Result<(), ParkingError>> + Send;
    /// Keeps a message until it is due.
    fn defer(&self, deferred: Deferred) -> impl Future<Output = Result<(), ParkingError>> + Send;
    /// Whether the database takes anything now.
    fn is_there(&self) -> impl Future<Output = bool> + Send;
}

/// A delivery on its way to the database.
#[derive(Clone)]
pub(super) enum Leaving {
    Parked(Parked),
    Deferred(Deferred),
}

impl Leaving {
    pub async fn store<P: Parking>(self, parking: &P) -> Result<(), ParkingError> {
        match self {
            Leaving::Parked(parked) => parking.park(parked).await,
            Leaving::Deferred(deferred) => parking.defer(deferred).await,
        }
    }

    pub fn last_error(&self) -> &str {
        match self {
            Leaving::Parked(parked) => &parked.last_error,
            Leaving::Deferred(deferred) => &deferred.why,
        }
    }

    /// The same with nothing in it that a database could refuse: every text is printable ASCII, the payload is bytes
    /// anyway.
    pub fn plain(self) -> Leaving {
        match self {
            Leaving::Parked(parked) => Leaving::Parked(Parked {
                message: plain_message(parked.message),
                first_error: printable(&parked.first_error),
                last_error: printable(&parked.last_error),
                ..parked
            }),
            Leaving::Deferred(deferred) => Leaving::Deferred(Deferred {
                message: plain_message(deferred.message),
                why: printable(&deferred.why),
                ..deferred
            }),
        }
    }
}

/// Without headers but the bus's own. Those stay: without its count of attempts a deferred message would have the
/// dedupe key of the first publish, and the duplicate window would swallow it when it is due.
fn plain_message(message: Message) -> Message {
    let own = |name: &str| [ATTEMPTS, AGAIN, FIRST_ERROR].iter().any(|own| name.eq_ignore_ascii_case(own));
    Message {
        subject: printable(&message.subject),
        headers: message.headers.into_iter().filter(|(n, _)| own(n)).map(|(n, v)| (n, printable(&v))).collect(),
        ..message
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

//! Messages that are published together, and together again where that failed.
//!
//! What must stay true: a parcel that is published again soon is packed as before, so that its bundles have the same
//! members and the same ids: what the server stored without being heard, it knows again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::message::Message;

/// How long a parcel is packed as before. Later on those that read bundles may have gone.
const PACKED_FOR: Duration = Duration::from_secs(60);

/// Messages of one publisher.
pub struct Parcel {
    messages: Vec<Message>,
    packing: Packing,
}

impl Parcel {
    pub fn new(messages: Vec<Message>) -> Parcel {
        Parcel { messages, packing: Packing::default() }
    }

    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    pub(super) fn packing(&self) -> &Packing {
        &self.packing
    }
}

/// How a parcel was packed: bundles of at most so many bytes, or each message for itself.
#[derive(Default)]
pub(super) struct Packing(Mutex<Option<(Instant, Option<usize>)>>);

impl Packing {
    /// Nothing where that has to be decided.
    pub fn known(&self) -> Option<Option<usize>> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.filter(|(at, _)| at.elapsed() < PACKED_FOR).map(|(_, most_bytes)| most_bytes)
    }

    pub fn decide(&self, most_bytes: Option<usize>) -> Option<usize> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), most_bytes));
        most_bytes
    }
}

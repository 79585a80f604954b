//! Where deliveries come from and how they are answered: the seam between the consumer loop and the two buses.
//!
//! What must stay true: [`Source::take`] may be dropped at any await and called again without losing a message, because
//! the loop drops it whenever a handler finishes.

use std::time::Duration;

use super::message::Message;
use super::{embedded, jetstream};
use crate::clock::Timestamp;

/// A message as the bus delivered it.
pub(super) struct Arrived {
    /// The message.
    pub message: Message,
    /// Deliveries of this publish, this one included.
    pub on_bus: u32,
    /// When the bus accepted it.
    pub published_at: Timestamp,
    /// The first failed delivery's error, when the bus remembers it.
    pub first_error: Option<String>,
    /// Whether another publisher sent it.
    pub alien: bool,
    /// How to answer.
    pub receipt: Receipt,
}

/// One consumer's supply.
pub(super) enum Source {
    Embedded(embedded::Supply),
    JetStream(Box<jetstream::Supply>),
}

impl Source {
    /// Waits for deliveries, at most `free` of them and at least one. Trouble is waited out inside.
    pub async fn take(&mut self, free: usize) -> Vec<Arrived> {
        match self {
            Source::Embedded(supply) => supply.take(free).await,
            Source::JetStream(supply) => supply.take(free).await,
        }
    }

    /// Gives back what was fetched and not taken.
    pub async fn close(self) {
        match self {
            Source::Embedded(supply) => supply.close().await,
            Source::JetStream(supply) => supply.close().await,
        }
    }
}

/// The answer to one delivery. An answer that does not get through is logged and counted by the bus: the message comes
/// again.
pub(super) enum Receipt {
    Embedded(embedded::Receipt),
    JetStream(jetstream::Receipt),
}

impl Receipt {
    /// Finished.
    pub async fn ack(&self) {
        match self {
            Receipt::Embedded(receipt) => receipt.ack().await,
            Receipt::JetStream(receipt) => receipt.ack().await,
        }
    }

    /// Deliver again, not before `after`.
    pub async fn wait(&self, after: Duration, first_error: &str) {
        match self {
            Receipt::Embedded(receipt) => receipt.wait(after, first_error).await,
            Receipt::JetStream(receipt) => receipt.wait(after, first_error).await,
        }
    }

    /// Returns the message for immediate redelivery to any consumer.
    pub async fn give_back(&self) {
        match self {
            Receipt::Embedded(receipt) => receipt.give_back().await,
            Receipt::JetStream(receipt) => receipt.give_back().await,
        }
    }

    /// Still working.
    pub async fn keep_alive(&self) {
        match self {
            Receipt::Embedded(receipt) => receipt.keep_alive().await,
            Receipt::JetStream(receipt) => receipt.keep_alive().await,
        }
    }

    /// Whether one more waiting message would leave room for fresh ones.
    pub fn has_room(&self) -> bool {
        match self {
            // A waiting row occupies no delivery slot.
            Receipt::Embedded(_) => true,
            Receipt::JetStream(receipt) => receipt.has_room(),
        }
    }
}

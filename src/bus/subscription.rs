//! Where deliveries come from and how they are answered: the seam between the consumer loop and the two buses.
//!
//! What must stay true: [`Source::take`] may be dropped at any await and called again without losing a message, because
//! the loop drops it whenever a handler finishes.

use std::future::Future;
use std::time::Duration;

use super::ending::Ending;
use super::message::Message;
use crate::clock::Timestamp;

/// A message as the bus delivered it.
pub(super) struct Arrived<R> {
    pub message: Message,
    /// Deliveries of this publish, this one included.
    pub on_bus: u32,
    /// When the bus accepted it.
    pub published_at: Timestamp,
    /// The first failed delivery's error, when the bus remembers it.
    pub first_error: Option<String>,
    /// Whether another publisher sent it.
    pub alien: bool,
    /// Whether it is of a bundle that was delivered before: a member of it may have ended its process. Nothing handles
    /// it here; it becomes a message of its own.
    pub apart: bool,
    /// How to answer.
    pub receipt: R,
}

/// One consumer's supply.
pub(super) trait Source: Send {
    /// How its deliveries are answered.
    type Receipt: Receipt;

    /// Waits for deliveries, at most `free` of them and at least one. Errors are waited out inside.
    fn take(&mut self, free: usize) -> impl Future<Output = Vec<Arrived<Self::Receipt>>> + Send;

    /// Takes nothing more at present: gives back what came and was not taken.
    fn rest(&mut self) -> impl Future<Output = ()> + Send;

    /// Gives back what was fetched and not taken.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// The answer to one delivery. An answer that does not get through is logged and counted by the bus: the message comes
/// again.
pub(super) trait Receipt: Send + Sync + 'static {
    fn ack(&self) -> impl Future<Output = ()> + Send;

    /// How it can end together with its effects; nothing where the bus is another program.
    fn ending(&self) -> Option<Ending>;

    /// Deliver again, not before `after`.
    fn wait(&self, after: Duration, first_error: &str) -> impl Future<Output = ()> + Send;

    /// Returns the message for immediate redelivery to any consumer.
    fn give_back(&self) -> impl Future<Output = ()> + Send;

    /// Still working.
    fn keep_alive(&self) -> impl Future<Output = ()> + Send;

    /// Whether one more waiting message would leave room for fresh ones.
    fn has_room(&self) -> bool;
}

//! The queue: its streams, how far behind its consumers are, and messages that are read without being taken.

use super::operator::Operator;
use crate::bus::{Bus, Lag, LagError, Peek, Peeked, StreamView};
use crate::ids::MerchantKey;

/// Streams and consumers as they are now.
pub async fn overview(bus: &Bus) -> Result<(Vec<StreamView>, Vec<Lag>), LagError> {
    tokio::try_join!(bus.streams(), bus.lag())
}

/// A page of messages, the oldest first.
#[derive(Debug)]
pub struct Peeks {
    pub rows: Vec<Peeked>,
    /// The number after which the next page begins; none where this is the last.
    pub next: Option<u64>,
}

/// The oldest messages of a stream that the operator may see; none where there is no such stream or consumer.
pub async fn peek(bus: &Bus, operator: &Operator, peek: &Peek) -> Result<Option<Peeks>, LagError> {
    let Some(mut rows) = bus.peek(peek).await? else { return Ok(None) };
    let next = rows.last().filter(|_| rows.len() >= peek.limit).map(|last| last.seq);
    rows.retain(|row| operator.sees_any(merchant(row).as_ref()));
    Ok(Some(Peeks { rows, next }))
}

/// The merchant of a message's subject. One of another publisher may have none.
pub fn merchant(message: &Peeked) -> Option<MerchantKey> {
    MerchantKey::parse(message.subject.split('.').nth(2)?).ok()
}
